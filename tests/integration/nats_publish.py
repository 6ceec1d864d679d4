"""Makes the stream ORDERS with the consumer "work" on a NATS server and publishes messages, in NATS' text protocol.

usage: nats_publish.py PORT MESSAGES USER PASSWORD
"""
import json
import socket
import sys


def request(stream, subject, payload):
    """Publishes and waits for the JetStream API's answer."""
    body = json.dumps(payload).encode()
    stream.write(b"PUB %s replies %d\r\n%s\r\n" % (subject.encode(), len(body), body))
    stream.flush()
    while True:
        line = stream.readline()
        if line.startswith(b"MSG "):
            answer = json.loads(stream.read(int(line.split()[-1]) + 2))
            if "error" in answer:
                sys.exit(str(answer["error"]))
            return
        if line.startswith(b"PING"):
            stream.write(b"PONG\r\n")
        elif not line or line.startswith(b"-ERR"):
            sys.exit("the server hung up or refused: %r" % line)


def main():
    port, messages = int(sys.argv[1]), int(sys.argv[2])
    login = {"verbose": False, "user": sys.argv[3], "pass": sys.argv[4]}
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    stream = connection.makefile("rwb")
    stream.readline()  # INFO
    stream.write(b"CONNECT %s\r\nSUB replies 1\r\n" % json.dumps(login).encode())
    request(stream, "$JS.API.STREAM.CREATE.ORDERS", {"name": "ORDERS", "subjects": ["orders"], "storage": "memory"})
    request(stream, "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.work",
            {"stream_name": "ORDERS", "config": {"durable_name": "work", "ack_policy": "explicit"}})
    for _ in range(messages):
        stream.write(b"PUB orders 1\r\nx\r\n")
    request(stream, "$JS.API.STREAM.INFO.ORDERS", {})


if __name__ == "__main__":
    main()
