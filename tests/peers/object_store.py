"""A server that speaks S3 (moto), for tests/object_store.rs. It ends when its input does.

    pip install 'moto[s3]==5.*' flask flask-cors && python3 tests/peers/object_store.py [ALLOWED]

Says `ready PORT`, then answers each line of JSON: {"bucket": name}, {"put": [bucket, key, file]}, {"get": [bucket, key, file]}.
With ALLOWED, credentials are looked at after so many requests.
"""

import json
import os
import sys

if len(sys.argv) > 1:
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = sys.argv[1]

import boto3
from moto.server import ThreadedMotoServer

# Standard output belongs to the answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
client = boto3.client(
    "s3",
    endpoint_url=f"http://{host}:{port}",
    region_name="us-east-1",
    aws_access_key_id="someone",
    aws_secret_access_key="hunter2",
)


def answer(text):
    print(text, file=answers, flush=True)


answer(f"ready {port}")
for line in sys.stdin:
    request = json.loads(line)
    if "bucket" in request:
        client.create_bucket(Bucket=request["bucket"])
        answer("done")
    elif "put" in request:
        bucket, key, file = request["put"]
        client.upload_file(file, bucket, key)
        answer("done")
    elif "get" in request:
        bucket, key, file = request["get"]
        client.download_file(bucket, key, file)
        answer("done")
server.stop()
