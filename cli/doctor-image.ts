import { redactedText, redactedValue, SECRET } from "../components/guarded-release/changes/redaction";
import type { OpenImage } from "../local/image/unpack";
import { type Check, failed, ok } from "./doctor-checks";

/** Files whose names say that they hold secrets, and Python; as `grep -E` and JavaScript both read it. */
export const WANTED_FILES =
    "(^|/)(\\.env|\\.netrc|\\.pypirc|\\.npmrc|\\.git-credentials|id_rsa|id_ed25519|id_ecdsa|pip\\.conf|\\.aws/credentials|\\.docker/config\\.json|\\.kube/config|\\.git/config|python3)$";

const MEGABYTE = 1e6;
/** A pull of it takes a minute over 300 Mbit/s. */
const LARGE_MEGABYTES = 2000;

/** What can be said of an image without running it. */
export function imageChecks(reference: string, image: OpenImage): Check[] {
    const { config, bytes, files } = image;
    const python = files.filter((file) => /(^|\/)python3$/.test(file));
    const secretFiles = files.filter((file) => !/(^|\/)python3$/.test(file));
    const onPath = pathOf(config.env).some((folder) => python.includes(`${folder.replace(/^\//, "")}/python3`));
    return [
        version(reference),
        user(config.user),
        entryPoint(config.entrypoint, config.command),
        architecture(config.architecture),
        bytes > LARGE_MEGABYTES * MEGABYTE
            ? failed(
                  "size",
                  `${Math.round(bytes / MEGABYTE)} MB: each new node needs minutes to pull it`,
                  "leave compilers, caches and unused wheels out (a second build stage)",
              )
            : ok("size", `${Math.round(bytes / MEGABYTE)} MB in ${image.layers.length} layers`),
        onPath
            ? ok("python3", "it is on PATH, for helm test, downloads and the warm-up gate")
            : failed(
                  "python3",
                  "there is none on PATH, which helm test, a model's download and the warm-up gate run",
                  "put a python3 (3.9 or later) on PATH",
              ),
        secrets(config.env, config.history),
        secretFiles.length === 0
            ? ok("secret files", "no layer has a file that usually holds a secret")
            : failed(
                  "secret files",
                  `${secretFiles.slice(0, 5).join(", ")}: whoever pulls the image can read it, even when a later layer removes it`,
                  "build it again without (a build secret, .dockerignore), and replace the secret",
              ),
    ];
}

function version(reference: string): Check {
    const name = "version";
    if (/@sha256:/.test(reference)) return ok(name, "named by its digest");
    const tag = /:([\w][\w.-]*)$/.exec(reference.slice(reference.lastIndexOf("/") + 1))?.[1];
    if (reference.endsWith(".tar")) return ok(name, "a file");
    return tag === undefined || tag === "latest"
        ? failed(
              name,
              `${tag ?? "no tag"} means another image every day`,
              "give it a version, and deploy it by its digest",
          )
        : ok(
              name,
              reference.startsWith("localhost/")
                  ? `tag ${tag}, on this machine only`
                  : `tag ${tag}; outside dev by its digest`,
          );
}

function user(text: string): Check {
    const [name = ""] = text.split(":");
    const says = text === "" ? "it has no USER, so it is root" : `USER ${text}`;
    if (name === "" || name === "0" || name === "root")
        return failed("user", says, "USER 10001:10001 as a last line of the Dockerfile");
    if (!/^\d+$/.test(name))
        return failed(
            "user",
            `${says}: Kubernetes cannot tell from a name that it is not root`,
            "USER with a number, such as 10001:10001",
        );
    return ok("user", says);
}

function entryPoint(entrypoint: readonly string[], command: readonly string[]): Check {
    const words = [...entrypoint, ...command];
    const [program = ""] = words;
    const shown = JSON.stringify(words);
    if (words.length === 0)
        return failed("signals", "it has neither ENTRYPOINT nor CMD", 'ENTRYPOINT ["python", "-m", "app"]');
    // A shell that ends with exec hands over its place, and with it the signals.
    const shell =
        /(?:^|\/)(?:ba|da|a)?sh$/.test(program) &&
        words[1] === "-c" &&
        !/(?:^|[;&\s])exec\s/.test(words.slice(2).join(" "));
    return shell
        ? failed(
              "signals",
              `${shown}: SIGTERM reaches the shell, not the server`,
              'write ENTRYPOINT in its exec form: ["python", "-m", "app"]',
          )
        : ok("signals", `starts ${shown}, without a shell between`);
}

function architecture(found: string): Check {
    return found === "amd64" || found === "arm64"
        ? ok("architecture", `${found}: needs nodes of that kind`)
        : failed("architecture", `"${found}" is of no common node`, "build it with --platform linux/amd64");
}

/** What builders write for files: long, and no secret. */
const CHECKSUM = /\b(?:dir|file|multi|sha256):[0-9a-f]{64}/g;

/** Secrets that stand in the image's variables, or in the commands that made it. */
function secrets(env: readonly string[], history: readonly string[]): Check {
    const variables = env.flatMap((line) => {
        const name = line.split("=", 1)[0] ?? "";
        const value = line.slice(name.length + 1);
        return value !== "" && String(redactedValue([name], value, "Image")).includes(SECRET) ? [`ENV ${name}`] : [];
    });
    const commands = history.flatMap((command, index) =>
        redactedText(command.replace(CHECKSUM, "")).includes(SECRET) ? [`the command of layer ${index + 1}`] : [],
    );
    const found = [...variables, ...commands];
    return found.length === 0
        ? ok("secrets", "neither its variables nor its commands hold what looks like a secret")
        : failed(
              "secrets",
              `${found.join(", ")}: looks like a secret, and is readable for all who pull the image`,
              "RUN --mount=type=secret at build time, `secrets` in the values at run time",
          );
}

function pathOf(env: readonly string[]): readonly string[] {
    const line =
        env.find((one) => one.startsWith("PATH=")) ??
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    return line.slice("PATH=".length).split(":");
}
