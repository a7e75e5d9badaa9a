#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
#
# Serves one file on the loopback, with ranges, at every path: over HTTP, and over HTTPS with a
# certificate. Writes "<http port> <https port>" to a file once it can be asked.
#
#     server.py <file> <certificate and key> <port file>

import http.server
import os
import re
import ssl
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        whole = self.server.whole
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2] or len(whole)), len(whole) - 1) if asked else len(whole) - 1
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(whole)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("ETag", '"one"')
        self.end_headers()
        self.wfile.write(whole[first:last + 1])

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, whole, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.whole = whole
        if tls:
            # The handshake belongs to the thread of its connection.
            self.socket = tls.wrap_socket(self.socket, server_side=True,
                                          do_handshake_on_connect=False)

    def handle_error(self, *_):
        pass  # a lane that closes before the end is no error


def main():
    file, certificate, port_file = sys.argv[1:]
    with open(file, "rb") as f:
        whole = f.read()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    servers = [Server(whole), Server(whole, tls)]
    for server in servers:
        threading.Thread(target=server.serve_forever).start()
    with open(port_file + ".new", "w") as f:
        print(*(server.server_port for server in servers), file=f)
    os.rename(port_file + ".new", port_file)


main()
