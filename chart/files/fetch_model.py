"""Fetches a model before the API starts; exit code 0 when it lies whole and checked below MODEL_ROOT.

    MODEL_ROOT                  folder of the cache: the pod's own disk, or a volume that pods share
    MODEL_URL                   https://...
    MODEL_URL_FILE              or a file that holds it: a presigned URL, of which nothing but the host is ever printed
    MODEL_SHA256                checksum of what the URL gives; empty: whatever comes (dev only)
    MODEL_FILE                  the model's name; empty: what comes is a .tar or .tar.gz and is unpacked
    MODEL_SIZE_BYTES            the most that may come, and the most that may come out of an archive
    MODEL_FETCH_BUDGET_SECONDS  for all of it
    POD_UID                     tells this pod's leftovers from those of others

What it keeps:

    <sha256>/                   the model's files, and CARD with their checksums; appears whole, by one rename
    latest -> <sha256>          only without MODEL_SHA256
    .fetch-<POD_UID>-<time>/    a fetch that runs, or was killed; nobody's any more after <time> (Unix seconds)

Needs nothing but Python's own library, 3.9 or later.
"""

import errno
import hashlib
import http.client
import json
import lzma
import os
import random
import re
import shutil
import signal
import socket
import ssl
import stat
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib

CARD = ".ml-api.json"
CHUNK = 1 << 20
BLOCK = 4096
PROGRESS_SECONDS = 5
SILENCE_SECONDS = 30
LONGEST_PAUSE_SECONDS = 30
# Clocks of two nodes differ by less.
CLOCKS_DIFFER_SECONDS = 60
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class Problem(Exception):
    """Why there is no model, in words for whoever reads `kubectl describe pod`."""


class Damaged(Problem):
    """The cached model is not what it was when it was put there."""


class Hiccup(Exception):
    """An error of the network or of the server that may be over in a moment; `wait` seconds if the server said so."""

    wait = 0


class FetchedElsewhere(Exception):
    """Another pod has put the same model into the cache meanwhile."""


class Source:
    """The URL and what may be said of it."""

    def __init__(self, env):
        file = env.get("MODEL_URL_FILE")
        self.url = read_text(file).strip() if file else env["MODEL_URL"]
        self.home = "the Secret of model.download.urlSecret" if file else "model.download.url"
        if not self.url.lower().startswith("https://"):
            raise Problem(f"the URL in {self.home} does not start with https://; a model is fetched in no other way")
        try:
            parts = urllib.parse.urlsplit(self.url)
            self.host = parts.hostname or ""
            self.name = f"{self.host}{'' if file else parts.path}"
        except ValueError:
            self.host = ""
        if not self.host:
            raise Problem(f"the URL in {self.home} is malformed: it names no host")


class Progress:
    """Tells every few seconds how far it is."""

    def __init__(self, verb, total):
        self.verb, self.total, self.done, self.trouble = verb, total, 0, None
        self.began = self.told = time.monotonic()

    def add(self, size):
        self.done += size
        now = time.monotonic()
        if now - self.told < PROGRESS_SECONDS:
            return False
        self.told = now
        rate = megabytes(self.done / (now - self.began))
        say(f"{self.verb} {self}, {rate}/s")
        return True

    def __str__(self):
        if not self.total:
            return megabytes(self.done)
        return f"{megabytes(self.done)} of {megabytes(self.total)} ({100 * self.done // self.total} %)"


class Cache:
    def __init__(self, env):
        self.root = env["MODEL_ROOT"]
        self.sha256 = env["MODEL_SHA256"]
        self.file = env["MODEL_FILE"]
        self.size = int(env["MODEL_SIZE_BYTES"])
        self.budget = int(env["MODEL_FETCH_BUDGET_SECONDS"])
        self.pod = env["POD_UID"]
        self.fetching = None

    def provide(self, source):
        """Make sure that the model is there; returns what to say about it."""
        self.remove_leftovers()
        work = os.path.join(self.root, f".fetch-{self.pod}-{int(time.time()) + self.budget}")
        os.mkdir(work)
        try:
            if self.sha256 and os.path.lexists(self.entry(self.sha256)):
                return self.checked(work, "found in the cache")
            try:
                sha256, size = self.fetch(source, work)
            except FetchedElsewhere:
                return self.checked(work, "fetched by another pod meanwhile")
            if not self.publish(os.path.join(work, "entry"), sha256):
                self.checked(work, "fetched by another pod, too", sha256)
            if not self.sha256:
                os.symlink(sha256, os.path.join(work, "latest"))
                os.replace(os.path.join(work, "latest"), os.path.join(self.root, "latest"))
            return f"{megabytes(size)} fetched from {source.name}, sha256 {sha256}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            shutil.rmtree(work, ignore_errors=True)

    def entry(self, sha256):
        return os.path.join(self.root, sha256)

    def remove_leftovers(self):
        for name in os.listdir(self.root):
            left = re.fullmatch(r"\.fetch-(.*)-(\d+)", name)
            if left and (left[1] == self.pod or int(left[2]) + CLOCKS_DIFFER_SECONDS < time.time()):
                say(f"removing {name}, left by a fetch that was cut short")
                shutil.rmtree(os.path.join(self.root, name), ignore_errors=True)

    def checked(self, work, how, sha256=None):
        entry = self.entry(sha256 or self.sha256)
        try:
            size = self.check(entry)
        except Damaged as damage:
            # Out of the way in one step; nobody finds half of it.
            os.rename(entry, os.path.join(work, "damaged"))
            raise Problem(
                f"the model in the cache is damaged and was removed: {damage}. "
                "The next start fetches it again; if this comes back, the volume or its disk is at fault"
            ) from None
        return f"{how}, checked ({megabytes(size)}), 0 bytes fetched"

    def check(self, entry):
        """Read every file of a cached model again; returns their size."""
        try:
            with open(os.path.join(entry, CARD), encoding="utf-8") as text:
                card = json.load(text)
            file, expected = card["file"], dict(card["files"])
        except (OSError, ValueError, KeyError, TypeError):
            raise Damaged(f"{entry} has no readable {CARD}") from None
        if file != self.file:
            kept, wanted = (f"as file {name!r}" if name else "unpacked" for name in (file, self.file))
            raise Problem(
                f"{entry} holds this model {kept}, and this release wants it {wanted}: give all releases with this "
                "cacheClaim the same model.download.file and unpack, or a cacheClaim each"
            )
        found = files_below(entry)
        found.pop(CARD, None)
        if found.keys() != expected.keys():
            other = sorted(found.keys() ^ expected.keys())
            raise Damaged(f"{other[0]!r} is {'missing' if other[0] in expected else 'there and should not be'}")
        if file and expected != {file: os.path.basename(entry)}:
            raise Damaged(f"{CARD} does not tell the checksum {os.path.basename(entry)}")
        progress = Progress("checking", sum(found.values()))
        for name, wanted in expected.items():
            with open(os.path.join(entry, name), "rb") as content:
                sha256 = copy(content, None, progress)
            if sha256 != wanted:
                raise Damaged(f"{name!r}: expected sha256 {wanted}, got {sha256}")
        return progress.done

    def fetch(self, source, work):
        """Download to work/entry, unpacked where wanted; returns checksum and size of what came."""
        entry = os.path.join(work, "entry")
        os.mkdir(entry)
        target = os.path.join(entry, self.file) if self.file else os.path.join(work, "archive")
        sha256, size = self.download(source, target)
        if self.sha256 and sha256 != self.sha256:
            raise Problem(
                f"{source.name} gave another model: expected sha256 {self.sha256}, got {sha256} ({size} bytes). It was "
                "damaged on the way, or the file behind the URL has changed; if that was meant, set "
                "model.download.sha256 to the new one"
            )
        files = {self.file: sha256}
        if not self.file:
            files = unpack(target, entry, self.size)
            os.unlink(target)
        with open(os.path.join(entry, CARD), "w", encoding="utf-8") as card:
            json.dump({"file": self.file, "files": files}, card)
            sync(card)
        for folder, _, _ in os.walk(entry):
            sync_folder(folder)
        return sha256, size

    def download(self, source, target):
        """Stream to a file, again while only network or server are in trouble; returns checksum and size."""
        opener = https_only(source)
        progress = self.fetching = Progress("fetched", None)
        sha256, etag, pause = hashlib.sha256(), None, 1
        say(f"fetching from {source.name}")
        with open(target, "wb") as file:
            while True:
                offset = progress.done if etag else 0
                try:
                    with self.answer(opener, source, offset, etag) as answer:
                        if not offset or answer.status != 206:
                            file.seek(0)
                            file.truncate()
                            sha256, progress.done = hashlib.sha256(), 0
                        tag = answer.headers["ETag"] or "W/"
                        # A weak one does not promise the same bytes.
                        etag = None if tag.startswith("W/") else tag
                        self.receive(answer, source, file, sha256, progress)
                    sync(file)
                    return sha256.hexdigest(), progress.done
                except Hiccup as hiccup:
                    progress.trouble = str(hiccup)
                    wait = hiccup.wait or pause * random.uniform(0.5, 1)
                    say(f"{hiccup}; trying again in {wait:.0f} s")
                    time.sleep(wait)
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def answer(self, opener, source, offset, etag):
        """Ask for the model from the byte `offset` on; an answer is 200 (all of it) or 206 (the rest)."""
        request = urllib.request.Request(source.url, headers={"User-Agent": "ml-api"})
        if offset:
            request.add_header("Range", f"bytes={offset}-")
            request.add_header("If-Range", etag)
        try:
            answer = opener.open(request, timeout=SILENCE_SECONDS)
        except urllib.error.HTTPError as error:
            error.close()
            raise refused(error.code, error.headers, source) from None
        except (http.client.InvalidURL, ValueError):
            raise Problem(f"the URL in {source.home} is malformed") from None
        except (OSError, http.client.HTTPException) as error:
            raise trouble(error, source) from None
        if answer.status == 206 and not (answer.headers["Content-Range"] or "").startswith(f"bytes {offset}-"):
            raise Problem(f"{source.host} answered 206 with another part than was asked for")
        if answer.status not in (200, 206):
            raise refused(answer.status, answer.headers, source)
        return answer

    def receive(self, answer, source, file, sha256, progress):
        announced = answer.length
        if announced is None and not answer.chunked and not self.sha256:
            raise Problem(
                f"{source.host} does not say how much will come, so nobody could tell whether all came: "
                "set model.download.sha256"
            )
        progress.total = None if announced is None else progress.done + announced
        if progress.total is not None and progress.total > self.size:
            raise self.too_large(source, megabytes(progress.total))
        end = progress.total
        while end is None or progress.done < end:
            try:
                # What is there, not all that was asked for: nothing of it is lost when the connection ends.
                chunk = answer.read1(CHUNK if end is None else min(CHUNK, end - progress.done))
            except (OSError, http.client.HTTPException) as error:
                raise trouble(error, source) from None
            if not chunk:
                break
            if progress.done + len(chunk) > self.size:
                raise self.too_large(source, f"more than {megabytes(self.size)}")
            file.write(chunk)
            sha256.update(chunk)
            if progress.add(len(chunk)) and self.sha256 and os.path.lexists(self.entry(self.sha256)):
                raise FetchedElsewhere
        if end is not None and progress.done < end:
            raise Hiccup(f"{source.host} closed the connection after {progress}")

    def too_large(self, source, size):
        return Problem(
            f"{source.name} gives {size}, and model.download.size allows {megabytes(self.size)}: "
            "raise it if the model is that large"
        )

    def publish(self, entry, sha256):
        """Give the entry its name; false when another pod was faster."""
        try:
            os.rename(entry, self.entry(sha256))
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                return False
            raise
        sync_folder(self.root)
        return True

    def out_of_time(self, *_):
        why = f"the model was not there within model.download.fetchBudgetSeconds ({self.budget} s)"
        if self.fetching:
            why += f"; fetched {self.fetching}"
            if self.fetching.trouble:
                why += f"; last trouble: {self.fetching.trouble}"
        raise Problem(f"{why}. Raise it, or see whether network.to lets the pod reach the server")


def unpack(archive, target, limit):
    """Unpack files and folders, nothing else and nowhere else; returns name: checksum."""
    files, progress, taken = {}, Progress("unpacked", None), 0
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                parts = [part for part in member.name.split("/") if part not in ("", ".")]
                name = "/".join(parts)
                if member.name.startswith("/") or ".." in parts or "\0" in name or name == CARD:
                    raise Problem(f"the archive holds {member.name!r}: expected names inside the archive's own folder")
                # As much as it takes on a disk, so that a million empty files are no small thing.
                taken += BLOCK * max(1, -(-member.size // BLOCK))
                if taken > limit:
                    raise Problem(
                        f"the archive unpacks to more than model.download.size ({megabytes(limit)}): "
                        "raise it if the model is that large"
                    )
                path = os.path.join(target, name)
                if member.isdir():
                    os.makedirs(path, exist_ok=True)
                    continue
                if not member.isfile():
                    raise Problem(
                        f"the archive holds {member.name!r}, which is a link or a device: expected files and folders "
                        "only; make it with `tar --dereference --hard-dereference`"
                    )
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with tar.extractfile(member) as content, open(path, "xb") as file:
                    files[name] = copy(content, file, progress)
                    sync(file)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise Problem(f"the archive holds {name!r} twice") from None
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise Problem(
            "what was fetched is no readable .tar or .tar.gz; for a model that is one file, set model.download.file "
            "instead of unpack"
        ) from None
    if not files:
        raise Problem("the archive holds no file")
    return files


def https_only(source):
    class Redirects(urllib.request.HTTPRedirectHandler):
        max_redirections = 5

        def redirect_request(self, request, answer, code, message, headers, url):
            if not url.lower().startswith("https://"):
                scheme = url.split(":")[0][:10]
                raise Problem(f"{source.host} answered {code}, a redirect to {scheme}://: only https:// is followed")
            return super().redirect_request(request, answer, code, message, headers, url)

    # Put together by hand: urllib's own set would also open http://, ftp:// and file://.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        Redirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def refused(status, headers, source):
    said = f"{source.name} answered {status} {http.client.responses.get(status, '')}".rstrip()
    if status in TRY_AGAIN:
        hiccup = Hiccup(said)
        after = headers["Retry-After"] or ""
        hiccup.wait = min(int(after[:6]), 600) if re.fullmatch("[0-9]+", after) else 0
        return hiccup
    if status in (401, 403):
        return Problem(
            f"{said}: the usual cause is a presigned URL that has expired; put a new one into a Secret and name it in "
            "model.download.urlSecret"
        )
    if status in (404, 410):
        return Problem(f"{said}: there is no such file; see {source.home}")
    return Problem(f"{said}: expected 200; see {source.home}")


def trouble(error, source):
    """What a network error means. Only texts that cannot hold the URL are passed on."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Problem(
            f"{source.host} has no certificate that this image trusts ({reason.verify_message}); for an authority of "
            "your own, put its certificate into a Secret and name that in secrets.SSL_CERT"
        )
    if isinstance(reason, socket.gaierror):
        return Hiccup(f"{source.host} has no address in DNS ({reason.strerror})")
    if isinstance(reason, socket.timeout):
        return Hiccup(f"{source.host} sent nothing for {SILENCE_SECONDS} s")
    what = reason.strerror if isinstance(reason, OSError) else None
    return Hiccup(f"{source.host}: {what or type(reason).__name__}")


def read_text(file):
    try:
        with open(file, encoding="utf-8") as text:
            return text.read()
    except (OSError, UnicodeDecodeError):
        raise Problem("the Secret of model.download.urlSecret has no readable entry `url`") from None


def files_below(folder):
    """Size by relative path. Whatever is neither file nor folder is damage."""
    sizes = {}

    def unreadable(error):
        raise error

    for place, folders, names in os.walk(folder, onerror=unreadable):
        for name in names + [name for name in folders if os.path.islink(os.path.join(place, name))]:
            path = os.path.join(place, name)
            found = os.lstat(path)
            if not stat.S_ISREG(found.st_mode):
                raise Damaged(f"{os.path.relpath(path, folder)!r} is no plain file")
            sizes[os.path.relpath(path, folder)] = found.st_size
    return sizes


def copy(source, target, progress):
    """Copy, or only read when there is no target; returns the checksum."""
    sha256 = hashlib.sha256()
    while True:
        chunk = source.read(CHUNK)
        if not chunk:
            return sha256.hexdigest()
        sha256.update(chunk)
        if target:
            target.write(chunk)
        progress.add(len(chunk))


def sync(file):
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems have no such thing.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)


def megabytes(size):
    return f"{size / 1e6:.1f} MB"


def say(text):
    print(f"model: {text}", flush=True)


def leave_word(text, env):
    """Kubernetes shows it as the container's last message. It makes the file; elsewhere there is none."""
    try:
        handle = os.open(env.get("TERMINATION_LOG", "/dev/termination-log"), os.O_WRONLY | os.O_TRUNC)
    except OSError:
        return
    with open(handle, "w", encoding="utf-8", errors="replace") as file:
        file.write(text[:4000])


def main(env):
    # As the container's first process it would not hear it otherwise.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        cache = Cache(env)
        signal.signal(signal.SIGALRM, cache.out_of_time)
        signal.setitimer(signal.ITIMER_REAL, cache.budget)
        word, code = cache.provide(Source(env)), 0
    except Problem as problem:
        word, code = str(problem), 1
    except OSError as error:
        # Of the disk: those of the network have become other errors.
        full = "remove models that nobody uses any more, or give the volume more space"
        closed = "the volume must let group 10001 write"
        advice = dict.fromkeys([errno.ENOSPC, errno.EDQUOT], full)
        advice.update(dict.fromkeys([errno.EACCES, errno.EPERM, errno.EROFS], closed))
        said = f"{error.filename or env['MODEL_ROOT']}: {error.strerror}"
        word, code = f"{said}; {advice.get(error.errno, 'the disk is at fault')}", 1
    except Exception as error:
        # Not its text, which may hold the URL.
        at = error.__traceback__
        while at.tb_next:
            at = at.tb_next
        word, code = f"unexpected {type(error).__name__} in line {at.tb_lineno} of fetch_model.py", 1
    say(word if code == 0 else f"NOT READY: {word}")
    leave_word(word, env)
    sys.exit(code)


main(os.environ)
