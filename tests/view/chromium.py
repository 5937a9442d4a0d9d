"""A headless Chromium that is driven by the WebDriver protocol."""

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
    ),
    *("--disable-default-apps", "--no-default-browser-check", "--window-size=1500,950"),
    *("--disable-domain-reliability", "--disable-client-side-phishing-detection", "--dns-prefetch-disable"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what the browser does by itself reaches nobody
    "--disable-features=OptimizationHints,MediaRouter,Translate,InterestFeedContentSuggestions",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Browser:
    """A headless Chromium."""

    def __init__(self, folder, driver="chromedriver", chromium="chromium"):
        self.net_log = folder / "net.json"
        self._process = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        port = ""
        for line in self._process.stdout:
            if "successfully on port" in line:
                port = line.rstrip(".\n").rpartition(" ")[2]
                break
        self._url = f"http://127.0.0.1:{port}/session"
        options = {
            "binary": shutil.which(chromium),
            "args": [*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={self.net_log}"],
        }
        capabilities = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        try:
            session = self._send("POST", "", {"capabilities": {"alwaysMatch": capabilities}})
        except BaseException:
            self._end()
            raise
        self._url += f"/{session['sessionId']}"

    def _send(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        request.method = method
        try:
            with NO_PROXY.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as problem:
            with problem:
                raise AssertionError(json.load(problem)["value"]["message"]) from None

    def open(self, address):
        self._send("POST", "/url", {"url": address})

    def run(self, script, *arguments):
        """Run the body of a function in the page; gives what it, or its promise, returns."""
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self._send("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        for again in (True, True, False):
            try:
                self._send("POST", f"/element/{self.find(selector)}/click", {})
                return
            except AssertionError as problem:  # the page may just be drawing this part anew
                if not again or "stale" not in str(problem):
                    raise

    def type(self, selector, text):
        """Put a text into a field as a user does: the old one is taken out first, and the field is left."""
        at = f"/element/{self.find(selector)}"
        self._send("POST", f"{at}/clear", {})
        self._send("POST", f"{at}/value", {"text": text})
        self.run("document.activeElement.blur()")

    def choose(self, selector, value):
        self.run(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('change', {bubbles: true}))",
            selector,
            value,
        )

    def click_at(self, selector, left, top):
        """Click a place of an element, from its upper left corner."""
        corner = self.run(
            "const r = document.querySelector(arguments[0]).getBoundingClientRect(); return [r.left, r.top]",
            selector,
        )
        x, y = round(corner[0] + left), round(corner[1] + top)
        moves = [
            {"type": "pointerMove", "duration": 0, "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": "mouse", "actions": moves}
        self._send("POST", "/actions", {"actions": [pointer]})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def wait(self, script, *arguments, seconds=30):
        """Wait until a script gives something true; gives that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.run(script, *arguments)
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"waited {seconds} s in vain for: {script}")

    def console(self):
        """What the page complained of."""
        return [one["message"] for one in self._send("POST", "/se/log", {"type": "browser"})]

    def requests(self):
        """Addresses of all that the page asked for since the last call."""
        events = [
            json.loads(one["message"])["message"]
            for one in self._send("POST", "/se/log", {"type": "performance"})
        ]
        sent = [
            one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"
        ]
        sockets = [one["params"]["url"] for one in events if one["method"] == "Network.webSocketCreated"]
        return sent + sockets

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self._send("GET", "/screenshot")))

    def close(self):
        if self._process.poll() is None:
            with contextlib.suppress(OSError, AssertionError):
                self._send("DELETE", "")
        self._end()

    def _end(self):
        self._process.terminate()
        self._process.wait(10)
        self._process.stdout.close()
