"""Asks an API whether it is ready and for one prediction; exit code 0 when it answered as it should.

    python3 -I -c "$(cat ask.py)" MODE NAME=VALUE...

MODE test is what `helm test` runs: it waits up to a minute, tells what was answered, and also asks without a key.
MODE warm-up is a startup probe: it asks once, and says nothing but why it failed.

    API_URL                  http://HOST:PORT
    READY_PATH               GET, expects 200
    PREDICT_PATH             POST, expects 200
    SAMPLE                   body of the prediction as JSON; empty: none is asked for
    API_KEYS_FILE            file whose first line is sent as the key; empty: no key is sent
    REQUEST_TIMEOUT_SECONDS  the longest that the API takes for a prediction
"""

import http.client
import sys
import time

READY_SECONDS = 2


def main():
    mode, given = sys.argv[1], dict(word.split("=", 1) for word in sys.argv[2:])
    ready_path, predict_path = given["READY_PATH"], given["PREDICT_PATH"]
    sample, keys_file = given["SAMPLE"], given["API_KEYS_FILE"]
    # A server that gives up after its time-out still has the time to say so: its words say more than ours.
    predict_seconds = float(given["REQUEST_TIMEOUT_SECONDS"]) + 5

    def ask(path, seconds, body=None, key=None):
        headers = {"Content-Type": "application/json"} if body else {}
        if key:
            headers["Authorization"] = "Bearer " + key
        # No proxy and no redirect, unlike urllib: who is asked is the API and nobody else.
        connection = http.client.HTTPConnection(given["API_URL"].split("//", 1)[1], timeout=seconds)
        try:
            connection.request("POST" if body else "GET", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return None, str(error) or type(error).__name__
        finally:
            connection.close()

    def expect(wanted, what, answer):
        status, text = answer[0] or "no answer", answer[1][:1000]
        if mode == "test":
            print(f"{what}: {status} {text}", flush=True)
        if status != wanted:
            sys.exit(f"{what}: expected {wanted}, got {status} from {given['API_URL']}: {text}")

    ready = ask(ready_path, READY_SECONDS)
    if mode == "test":
        # A Service can need a moment until each node knows of a pod that has just become ready.
        for _ in range(14):
            if ready[0] == 200:
                break
            time.sleep(2)
            ready = ask(ready_path, READY_SECONDS)
    expect(200, f"GET {ready_path}", ready)

    if not sample:
        print("verify.sample is empty: no prediction was asked for")
        return
    key = None
    if keys_file:
        if mode == "test":
            expect(401, f"POST {predict_path} without a key", ask(predict_path, predict_seconds, sample.encode()))
        with open(keys_file, encoding="utf-8") as lines:
            key = lines.readline().strip()
    expect(200, f"POST {predict_path}", ask(predict_path, predict_seconds, sample.encode(), key))


main()
