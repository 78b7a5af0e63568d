# What a stranger sends to pcsd, and the status that each thing gets.
import os, socket, ssl, subprocess, sys, tempfile

address = (sys.argv[1], 2224)
folder = tempfile.mkdtemp()
key, cert = os.path.join(folder, "key"), os.path.join(folder, "cert")
subprocess.run(
    ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
     "-days", "2", "-subj", "/CN=n1"],
    check=True, capture_output=True)


def connect(with_key=False):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if with_key:
        context.load_cert_chain(cert, key)
    return context.wrap_socket(socket.create_connection(address, 10))


def ask(what, data, with_key=False):
    with connect(with_key) as stream:
        stream.settimeout(20)
        try:
            stream.sendall(data)
        except OSError:
            pass
        answer = b""
        try:
            answer = stream.recv(4096)
        except OSError:
            pass
        status = answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/") else "closed"
        print(f"{what}: {status}", flush=True)


def post(path, body, length=None):
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


ask("no key", post("/v1/host", b"null"))
ask("own key", post("/v1/stage", b"{}"), True)
ask("unknown path", post("/v1/../etc/passwd", b""), True)
ask("GET", b"GET /v1/host HTTP/1.1\r\nhost: x\r\n\r\n", True)
good = b'{"user":"hacluster","password":"x","from":"n1"}'
ask("auth without a key", post("/v1/auth", good))
ask("auth malformed", post("/v1/auth", b'{"user":'), True)
ask("auth too large", post("/v1/auth", b"x", 10**12), True)
chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
ask("auth chunked too large", b"POST /v1/auth HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + chunk, True)
ask("head too large", b"POST /v1/host HTTP/1.1\r\nx: " + b"y" * 40000 + b"\r\n\r\n")
ask("name that leads elsewhere", post("/v1/auth", good.replace(b"n1", b"../n1")), True)
# No TLS at all, and connections that say nothing.
for _ in range(5):
    with socket.create_connection(address, 10) as stream:
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
silent = [socket.create_connection(address, 10) for _ in range(100)]
for stream in silent:
    stream.close()
import time
time.sleep(1)
ask("after all", post("/v1/host", b"null"), True)
