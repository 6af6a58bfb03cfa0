import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

/** A small project in a temporary folder: a chart that renders one ConfigMap, and the stacks that a test adds. */
export class ProjectFolder {
    readonly root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-project-")));

    constructor() {
        this.write(
            "Pulumi.yaml",
            "name: ml-api\nruntime: nodejs\nconfig:\n  name:\n    type: string\n    default: mf-demo\n",
        );
        this.write("chart/Chart.yaml", 'apiVersion: v2\nname: ml-api\nversion: "0.1.0"\n');
        this.write("chart/values.yaml", 'environment: ""\nreplicas: 1\napi: {logLevel: info}\nenv: {}\n');
        this.write(
            "chart/templates/config.yaml",
            [
                "apiVersion: v1",
                "kind: ConfigMap",
                "metadata:",
                "  name: {{ .Release.Name }}",
                "data:",
                "  replicas: {{ .Values.replicas | quote }}",
                "  kubernetes: {{ .Capabilities.KubeVersion.Version | quote }}",
                "",
            ].join("\n"),
        );
    }

    file(name: string): string {
        return path.join(this.root, name);
    }

    read(name: string): string {
        return fs.readFileSync(this.file(name), "utf8");
    }

    /** @returns the file's absolute path */
    write(name: string, text: string): string {
        fs.mkdirSync(path.dirname(this.file(name)), { recursive: true });
        fs.writeFileSync(this.file(name), text);
        return this.file(name);
    }

    /** A stack of an environment of its own name, and its values file. */
    addStack(name: string, values = ""): void {
        this.write(`Pulumi.${name}.yaml`, `config:\n  ml-api:environment: ${name}\n`);
        this.write(`chart/environment/${name}/values-${name}.yaml`, `environment: ${name}\n${values}`);
    }

    /** Runs git here, as somebody whose settings do not matter. @returns what it printed */
    git(...args: string[]): string {
        const env = {
            ...process.env,
            GIT_CONFIG_GLOBAL: "/dev/null",
            GIT_CONFIG_SYSTEM: "/dev/null",
            GIT_AUTHOR_NAME: "A",
            GIT_AUTHOR_EMAIL: "a@example.org",
            GIT_COMMITTER_NAME: "A",
            GIT_COMMITTER_EMAIL: "a@example.org",
        };
        return execFileSync("git", args, {
            cwd: this.root,
            env,
            encoding: "utf8",
            stdio: ["ignore", "pipe", "pipe"],
        }).trim();
    }

    /** Commits everything. @returns the commit's id */
    commit(message = "x"): string {
        if (!fs.existsSync(this.file(".git"))) this.git("init", "--quiet", "--initial-branch=main");
        this.git("add", "--all");
        this.git("commit", "--quiet", "--allow-empty", "--message", message);
        return this.git("rev-parse", "HEAD");
    }

    remove(): void {
        fs.rmSync(this.root, { recursive: true, force: true });
    }
}
