import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { stripVTControlCharacters } from "node:util";
import { isMap, isScalar, parseDocument } from "yaml";
import { stackFileName, stackNames } from "../components/config/stack-file";
import { environment, withEnvironment } from "../local/environment";
import { cacheDir } from "../local/paths";
import { choosePlugins, type PluginChoice } from "../local/plugins";
import { ensureTools } from "../local/tools";
import { git } from "./commit";
import { capture, CommandError } from "./process";
import { logToStderr } from "./rendered-stack";

export interface OfflinePreviews {
    readonly previews: readonly OfflinePreview[];
    /** Which Pulumi plugins were used. */
    readonly plugins: PluginChoice["kind"];
}

export interface OfflinePreview {
    readonly stack: string;
    /** What Pulumi said when it failed. */
    readonly problem?: string;
    /** What of the stack file needs a secret or a service, and was left out. */
    readonly leftOut: readonly string[];
}

/**
 * Previews every stack with the real engine as if it were new, in a copy of the project with a state of its own: without a
 * cluster, without Pulumi Cloud, and without any secret.
 */
export async function previewOffline(root: string): Promise<OfflinePreviews> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-check-"));
    try {
        const project = path.join(folder, "project");
        await copyProject(root, project);
        const { variables, plugins } = await prepare(folder);
        const previews: OfflinePreview[] = [];
        for (const stack of stackNames(root)) {
            const leftOut = withoutSecrets(path.join(project, stackFileName(stack)));
            const pulumi = (...args: string[]) =>
                capture("pulumi", [...args, "--non-interactive", "--color", "never"], { env: variables, cwd: project });
            try {
                await pulumi("stack", "init", stack, "--no-select");
                await pulumi("preview", "--stack", stack);
                previews.push({ stack, leftOut });
            } catch (error) {
                if (!(error instanceof CommandError)) throw error;
                previews.push({ stack, leftOut, problem: diagnosticsIn(error) });
            }
        }
        return { previews, plugins };
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

async function prepare(folder: string): Promise<{ variables: NodeJS.ProcessEnv; plugins: PluginChoice["kind"] }> {
    const tools = await ensureTools(["pulumi", "helm"], { log: logToStderr });
    const stateDir = path.join(folder, "state");
    fs.mkdirSync(stateDir, { mode: 0o700 });
    const { pulumi, helm } = tools;
    const plugins = await choosePlugins({ pulumi, helm, stateDir, cacheDir: cacheDir(), log: () => undefined });
    const values = await environment({ stateDir, tools, plugins });
    const variables = {
        ...withEnvironment(process.env, values),
        KUBECONFIG: path.join(folder, "no-kubeconfig"),
        ML_API_CONTEXT: "",
        PULUMI_ACCESS_TOKEN: undefined,
        PULUMI_STACK: undefined,
    };
    return { variables, plugins: plugins.kind };
}

/** Everything that a commit of the checkout would hold, and the packages beside it. */
async function copyProject(root: string, to: string): Promise<void> {
    const listed = await git(root, ["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    const files = listed.ok
        ? listed.stdout.split("\0").filter((file) => file !== "" && fs.existsSync(path.join(root, file)))
        : fs.readdirSync(root).filter((name) => name !== "node_modules" && name !== ".git");
    for (const file of new Set(files)) fs.cpSync(path.join(root, file), path.join(to, file), { recursive: true });
    fs.symlinkSync(path.join(root, "node_modules"), path.join(to, "node_modules"));
}

/** Takes out of a copied stack file what only its own secrets provider or Pulumi Cloud can read; says what it was. */
export function withoutSecrets(file: string): readonly string[] {
    const document = parseDocument(fs.readFileSync(file, "utf8"));
    const leftOut = ["encryptionsalt", "encryptedkey", "secretsprovider", "environment"].filter(
        (key) => document.delete(key) && key === "environment",
    );
    const config = document.get("config");
    if (isMap(config)) {
        for (const { key, value } of [...config.items]) {
            if (!isScalar(key) || !isMap(value) || !value.has("secure")) continue;
            config.delete(key);
            leftOut.push(String(key.value));
        }
    }
    fs.writeFileSync(file, document.toString());
    return leftOut;
}

/** What a person needs of Pulumi's output: from "Diagnostics:" on. */
function diagnosticsIn({ stdout, stderr }: CommandError): string {
    const text = stripVTControlCharacters(`${stdout}\n${stderr}`).trim();
    const start = text.indexOf("\nDiagnostics:\n");
    return start < 0 ? text : text.slice(start + 1);
}
