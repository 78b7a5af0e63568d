"""A web server of one directory: web.py ADDRESS DIRECTORY [PORT]. Keeps up with a client that opens a connection for each request."""
import functools
import http.server
import sys


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


port = int(sys.argv[3]) if len(sys.argv) > 3 else 80
Server((sys.argv[1], port), functools.partial(Quiet, directory=sys.argv[2])).serve_forever()
