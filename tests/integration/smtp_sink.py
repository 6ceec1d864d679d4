#!/usr/bin/env python3
"""A mail server that keeps what it gets: one JSON object a line, with how it came.

usage: smtp_sink.py PORT OUTPUT [--certificate FILE --key FILE] [--user NAME --password TEXT]

With a certificate it offers STARTTLS, and with a user it takes mail from that one alone, and only under TLS.
"""

import argparse
import base64
import json
import socketserver
import ssl


class Session(socketserver.BaseRequestHandler):
    def reply(self, text):
        self.request.sendall((text + "\r\n").encode())

    def line(self):
        text = self.stream.readline(4096)
        return text.decode("utf-8", "replace").rstrip("\r\n") if text else None

    def handle(self):
        self.stream = self.request.makefile("rb")
        self.mail = {"tls": False, "user": None, "to": []}
        self.reply("220 sink ESMTP")
        while (text := self.line()) is not None:
            word = text.split(" ")[0].upper()
            if word == "QUIT":
                self.reply("221 bye")
                return
            getattr(self, "do_" + word.lower(), self.unknown)(text)

    def unknown(self, _):
        self.reply("500 what?")

    def do_ehlo(self, text):
        self.mail["hello"] = text[5:]
        offers = ["sink"]
        if self.server.tls and not self.mail["tls"]:
            offers.append("STARTTLS")
        if self.server.options.user and (self.mail["tls"] or not self.server.tls):
            offers.append("AUTH PLAIN LOGIN GSSAPI")
        for offer in offers[:-1]:
            self.reply("250-" + offer)
        self.reply("250 " + offers[-1])

    def do_starttls(self, _):
        self.reply("220 go ahead")
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.stream = self.request.makefile("rb")
        self.mail["tls"] = True

    def do_auth(self, text):
        words = text.split(" ")
        if words[1] != "PLAIN":
            self.reply("504 no")
            return
        if len(words) < 3:
            self.reply("334 ")
            words.append(self.line())
        _, user, password = base64.b64decode(words[2]).decode().split("\0")
        if (user, password) != (self.server.options.user, self.server.options.password):
            self.reply("535 wrong")
            return
        self.mail["user"] = user
        self.reply("235 welcome")

    def do_mail(self, text):
        if self.server.options.user and not self.mail["user"]:
            self.reply("530 who are you?")
            return
        self.mail["from"] = text.split("<")[1].split(">")[0]
        self.reply("250 ok")

    def do_rcpt(self, text):
        self.mail["to"].append(text.split("<")[1].split(">")[0])
        self.reply("250 ok")

    def do_data(self, _):
        self.reply("354 on you go")
        lines = []
        while (text := self.line()) is not None and text != ".":
            lines.append(text[1:] if text.startswith("..") else text)
        self.mail["data"] = "\n".join(lines)
        with open(self.server.options.output, "a") as output:
            output.write(json.dumps(self.mail) + "\n")
        self.reply("250 kept")


class Sink(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("output")
    for name in ("--certificate", "--key", "--user", "--password"):
        parser.add_argument(name)
    options = parser.parse_args()
    with Sink(("127.0.0.1", options.port), Session) as sink:
        sink.options = options
        sink.tls = None
        if options.certificate:
            sink.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            sink.tls.load_cert_chain(options.certificate, options.key)
        sink.serve_forever()


if __name__ == "__main__":
    main()
