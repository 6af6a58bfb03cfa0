"""Asks an API whether it is ready and for one prediction; exit code 0 when it answered as it should.

    python3 -I -c "$(cat ask.py)" MODE NAME=VALUE...

MODE test is what Jobs run (on a deploy, for a candidate, for `helm test`): it tells what was answered and when, also asks
without a key, and is patient for a minute with what is no fault of the version: a Service that a node does not know yet, and
an API that is busy (429). Any other answer counts the first time.
MODE warm-up is a startup probe: it asks once, and says nothing but why it failed.

    API_URL                  http://HOST:PORT, several with spaces: all must be ready, the last one predicts
    READY_PATH               GET, expects 200
    PREDICT_PATH             POST, expects 200
    SAMPLE                   body of the prediction as JSON; empty: none is asked for
    API_KEYS_FILE            file whose first line is sent as the key; empty: no key is sent
    REQUEST_TIMEOUT_SECONDS  the longest that the API takes for a prediction
"""

import http.client
import sys
import time

CONNECT_SECONDS = READY_SECONDS = 2
PATIENCE_SECONDS = 60
BUSY = 429


def main():
    mode, given = sys.argv[1], dict(word.split("=", 1) for word in sys.argv[2:])
    ready_path, predict_path = given["READY_PATH"], given["PREDICT_PATH"]
    sample, keys_file = given["SAMPLE"], given["API_KEYS_FILE"]
    # A server that gives up after its time-out still has the time to say so: its words say more than ours.
    predict_seconds = float(given["REQUEST_TIMEOUT_SECONDS"]) + 5
    end = time.monotonic() + (PATIENCE_SECONDS if mode == "test" else 0)

    def ask(url, path, seconds, body=None, key=None):
        """What is answered; None: nobody could be reached."""
        headers = {"Content-Type": "application/json"} if body else {}
        if key:
            headers["Authorization"] = "Bearer " + key
        # No proxy and no redirect, unlike urllib: who is asked is the API and nobody else.
        connection = http.client.HTTPConnection(url.split("//", 1)[1], timeout=CONNECT_SECONDS)
        try:
            connection.connect()
        except OSError as error:
            return None, str(error) or type(error).__name__
        try:
            connection.sock.settimeout(seconds)
            connection.request("POST" if body else "GET", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return "no answer", str(error) or type(error).__name__
        finally:
            connection.close()

    def expect(wanted, what, passing, url, *request):
        """Asks until there is an answer that counts: one that is not among those which pass by themselves."""
        answer = ask(url, *request)
        while answer[0] in passing and time.monotonic() < end:
            time.sleep(1)
            answer = ask(url, *request)
        status, text = answer[0] or "no answer", answer[1][:1000]
        if mode == "test":
            print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), f"{what}: {status} {text}", flush=True)
        if status != wanted:
            sys.exit(f"{what}: expected {wanted}, got {status} from {url}: {text}")

    for url in given["API_URL"].split():
        # The API may be up before its Service leads to it; and a pod among several may be about to become ready.
        expect(200, f"GET {ready_path}", (None, "no answer", BUSY, 503), url, ready_path, READY_SECONDS)
    if not sample:
        print("verify.sample is empty: no prediction was asked for")
        return
    predict = (url, predict_path, predict_seconds, sample.encode())
    key = None
    if keys_file:
        if mode == "test":
            expect(401, f"POST {predict_path} without a key", (None,), *predict)
        with open(keys_file, encoding="utf-8") as lines:
            key = lines.readline().strip()
    expect(200, f"POST {predict_path}", (None, BUSY), *predict, key)


main()
