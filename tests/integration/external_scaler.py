#!/usr/bin/env python3
"""A scaler in KEDA's protocol, by gRPC's own library; the test says by HTTP what it shall answer.

usage: external_scaler.py GRPC_PORT CONTROL_PORT [CERTIFICATE KEY CLIENT_CA]

GET /set?value=..&active=..&target=..&float=..&stream=.. changes the answers, /calls counts them as JSON. With a
certificate the port is TLS, and wants a client certificate of that CA.
"""

import json
import sys
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
# Message: (field, number, type, message of the field, repeated).
MESSAGES = {
    "ScaledObjectRef": [("name", 1, FIELD.TYPE_STRING), ("namespace", 2, FIELD.TYPE_STRING)],
    "IsActiveResponse": [("result", 1, FIELD.TYPE_BOOL)],
    "MetricSpec": [("metricName", 1, FIELD.TYPE_STRING), ("targetSize", 2, FIELD.TYPE_INT64), ("targetSizeFloat", 3, FIELD.TYPE_DOUBLE)],
    "GetMetricSpecResponse": [("metricSpecs", 1, FIELD.TYPE_MESSAGE, "MetricSpec")],
    "GetMetricsRequest": [("scaledObjectRef", 1, FIELD.TYPE_MESSAGE, "ScaledObjectRef"), ("metricName", 2, FIELD.TYPE_STRING)],
    "MetricValue": [("metricName", 1, FIELD.TYPE_STRING), ("metricValue", 2, FIELD.TYPE_INT64), ("metricValueFloat", 3, FIELD.TYPE_DOUBLE)],
    "GetMetricsResponse": [("metricValues", 1, FIELD.TYPE_MESSAGE, "MetricValue")],
}
REPEATED = {"metricSpecs", "metricValues"}


def make_messages():
    """The protocol's messages, as classes of Google's library."""
    file = descriptor_pb2.FileDescriptorProto(name="externalscaler.proto", package="externalscaler", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, *of in fields:
            added = message.field.add(name=field, number=number, type=kind)
            added.label = FIELD.LABEL_REPEATED if field in REPEATED else FIELD.LABEL_OPTIONAL
            if of:
                added.type_name = ".externalscaler." + of[0]
    ref = file.message_type[0]
    entry = ref.nested_type.add(name="ScalerMetadataEntry")
    entry.options.map_entry = True
    for number, key in ((1, "key"), (2, "value")):
        entry.field.add(name=key, number=number, type=FIELD.TYPE_STRING, label=FIELD.LABEL_OPTIONAL)
    ref.field.add(name="scalerMetadata", number=3, type=FIELD.TYPE_MESSAGE, label=FIELD.LABEL_REPEATED,
                  type_name=".externalscaler.ScaledObjectRef.ScalerMetadataEntry")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(pool.FindMessageTypeByName("externalscaler." + name)) for name in MESSAGES}


class Scaler:
    """What it answers, and what it was asked."""

    def __init__(self, messages):
        self.m = messages
        self.changed = threading.Condition()
        self.state = {"value": 0.0, "active": False, "target": 5.0, "float": True, "stream": True, "password": ""}
        self.calls = {}
        self.seen = {}
        self.streams = 0

    def set(self, values):
        with self.changed:
            for key, value in values.items():
                kind = type(self.state[key])
                self.state[key] = value == "true" if kind is bool else kind(value)
            self.changed.notify_all()

    def note(self, call, ref, context):
        with self.changed:
            self.calls[call] = self.calls.get(call, 0) + 1
            self.seen = {"name": ref.name, "namespace": ref.namespace, "metadata": dict(ref.scalerMetadata)}
            wanted = self.state["password"]
        given = ref.scalerMetadata.get("passwordFromEnv", "")
        if wanted and given != wanted:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, f"password {given} is wrong")

    def is_active(self, ref, context):
        self.note("IsActive", ref, context)
        return self.m["IsActiveResponse"](result=self.state["active"])

    def stream_is_active(self, ref, context):
        self.note("StreamIsActive", ref, context)
        if not self.state["stream"]:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no streams here")
        told = None
        with self.changed:
            self.streams += 1
        try:
            while context.is_active() and self.state["stream"]:
                with self.changed:
                    active = self.state["active"]
                    if active == told:
                        self.changed.wait(0.2)
                        continue
                told = active
                yield self.m["IsActiveResponse"](result=active)
        finally:
            with self.changed:
                self.streams -= 1

    def get_metric_spec(self, ref, context):
        self.note("GetMetricSpec", ref, context)
        spec = self.m["MetricSpec"](metricName="orders")
        if self.state["float"]:
            spec.targetSizeFloat = self.state["target"]
        else:
            spec.targetSize = int(self.state["target"])
        return self.m["GetMetricSpecResponse"](metricSpecs=[spec])

    def get_metrics(self, request, context):
        self.note("GetMetrics", request.scaledObjectRef, context)
        value = self.m["MetricValue"](metricName=request.metricName)
        if self.state["float"]:
            value.metricValueFloat = self.state["value"]
        else:
            value.metricValue = int(self.state["value"])
        return self.m["GetMetricsResponse"](metricValues=[value])

    def handlers(self):
        ref, m = self.m["ScaledObjectRef"], self.m

        def unary(call, request):
            return grpc.unary_unary_rpc_method_handler(call, request.FromString, lambda reply: reply.SerializeToString())

        return grpc.method_handlers_generic_handler("externalscaler.ExternalScaler", {
            "IsActive": unary(self.is_active, ref),
            "GetMetricSpec": unary(self.get_metric_spec, ref),
            "GetMetrics": unary(self.get_metrics, m["GetMetricsRequest"]),
            "StreamIsActive": grpc.unary_stream_rpc_method_handler(
                self.stream_is_active, ref.FromString, lambda reply: reply.SerializeToString()),
        })


def control(scaler, port):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            url = urlsplit(self.path)
            scaler.set(dict(parse_qsl(url.query, keep_blank_values=True)))
            body = json.dumps({"calls": scaler.calls, "seen": scaler.seen, "streams": scaler.streams}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    persistently(lambda: ThreadingHTTPServer(("127.0.0.1", port), Handler)).serve_forever()


def persistently(bind, deadline_s=30):
    """bind(), again while it fails: a connection of somebody else may have the port for a moment."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            result = bind()
            if result != 0:
                return result
        except OSError:
            pass
        if time.monotonic() > end:
            sys.exit("the port stays taken")
        time.sleep(0.1)


def main():
    port, control_port = int(sys.argv[1]), int(sys.argv[2])
    scaler = Scaler(make_messages())
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((scaler.handlers(),))
    address = f"127.0.0.1:{port}"
    if len(sys.argv) > 3:
        certificate, key, client_ca = (open(path, "rb").read() for path in sys.argv[3:6])
        credentials = grpc.ssl_server_credentials([(key, certificate)], client_ca, True)
        persistently(lambda: server.add_secure_port(address, credentials))
    else:
        persistently(lambda: server.add_insecure_port(address))
    server.start()
    control(scaler, control_port)


if __name__ == "__main__":
    main()
