"""An S3 server for the tests: moto's, with conditional writes as a store has them.

moto looks whether there is an object and then puts one, two steps between which its other threads may come; here such
requests go one at a time. Of each seven one gets no answer though it was carried out, and one is asked to come again,
as S3 does with writers of the same key.
"""
import itertools
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.wrappers import Response

moto = DomainDispatcherApplication(create_backend_app)
turn = threading.Lock()
count = itertools.count()


def store(environ, start_response):
    if environ["REQUEST_METHOD"] != "PUT" or "HTTP_IF_NONE_MATCH" not in environ:
        return moto(environ, start_response)
    with turn:
        number = next(count) % 7
        if number == 3:
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            return Response(status=409)(environ, start_response)
        if number != 1:
            return moto(environ, start_response)
        list(moto(environ, lambda status, headers: None))
        return Response(status=503)(environ, start_response)


run_simple("127.0.0.1", 0, store, threaded=True, request_handler=MotoRequestHandler)
