# A host that lets others in, stages what it is given, and is lost before it has committed.
import json, os, socket, ssl, subprocess, sys, tempfile

folder = tempfile.mkdtemp()
key, cert = os.path.join(folder, "key"), os.path.join(folder, "cert")
subprocess.run(
    ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
     "-days", "2", "-subj", "/CN=n3"],
    check=True, capture_output=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
host = dict(host="n3", version="0", configured=[], cluster_name=None, conf=None, authkey=None, running=False, enabled=False,
            systemd=False, node=None, foreign=[])
answers = {"/v1/auth": dict(host="n3", version="0"), "/v1/host": host}
listener = socket.create_server(("", 2224))
print("ready", flush=True)
while True:
    try:
        stream = context.wrap_socket(listener.accept()[0], server_side=True)
        data = b""
        while b"\r\n\r\n" not in data:
            data += stream.recv(65536)
        head, body = data.split(b"\r\n\r\n", 1)
        length = next(int(l.split(b":")[1]) for l in head.split(b"\r\n") if l.lower().startswith(b"content-length"))
        while len(body) < length:
            body += stream.recv(65536)
        path = head.split(b" ")[1].decode()
        print(path, flush=True)
        if path != "/v1/commit":
            text = json.dumps(answers.get(path, dict(message=""))).encode()
            stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(text) + text)
        stream.close()
    except (OSError, ssl.SSLError):
        pass
