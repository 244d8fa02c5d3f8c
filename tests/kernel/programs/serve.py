"""Answers three requests, and ends."""

import http.server
import sys


class Server(http.server.HTTPServer):
    allow_reuse_address = True


handler = http.server.SimpleHTTPRequestHandler
with Server(("127.0.0.1", int(sys.argv[1])), handler) as server:
    for _ in range(3):
        server.handle_request()
