"""A web server of one directory: web.py ADDRESS DIRECTORY. Keeps up with a client that opens a connection for each request."""
import functools
import http.server
import sys


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


Server((sys.argv[1], 80), functools.partial(Quiet, directory=sys.argv[2])).serve_forever()
