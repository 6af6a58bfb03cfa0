import * as fs from "node:fs";
import * as path from "node:path";
import { setValues } from "../branching/values-edit";
import { InputError } from "../components/config/problem";
import { readProject } from "../components/config/project-file";
import { readStackFile, stackFileName } from "../components/config/stack-file";
import { isValues, type Values } from "../components/config/values";
import { visibleLines } from "../components/config/visible";
import { type ApiAccess, wantedContext } from "../components/config/kubeconfig";
import { request } from "../components/guarded-release/live/api";
import { openRecords } from "../components/guarded-release/live/live";
import { decodeRecord } from "../components/guarded-release/live/record";
import { keySecretOf } from "../components/ml-api/values";
import { checkoutRoot } from "../local/paths";
import { ensureTools } from "../local/tools";
import { deployEnvironment } from "./deploy-checkout";
import { ExitCode } from "./exit-code";
import { forwarded } from "./predict";
import { foreground } from "./process";
import { logToStderr } from "./rendered-stack";
import { type Goal, type Plan, planRotation, standOf } from "./rotation";
import { stackPlace, type StackPlace } from "./stack-cluster";
import { findStack } from "./stacks";
import { podsServe } from "./verification";

export interface RotateKeyOptions {
    readonly finish?: true;
    readonly status?: true;
    readonly json?: true;
    readonly editOnly?: true;
    readonly yes?: true;
}

/** Milliseconds for the questions to the cluster. */
const PATIENCE_MS = 15_000;

/** Does the next step of a key rotation: one deploy with both keys, and with `--finish` one with only the new key. */
export async function rotateKeyCommand(name: string, options: RotateKeyOptions): Promise<void> {
    const stack = findStack(checkoutRoot, name);
    const place = stackPlace(checkoutRoot, stack);
    refuseOthersKeys(place, stack);
    const live = await readLive(place);
    const stackFile = stackFileName(stack);
    if (options.status === true) {
        const stand = standOf(place.settings, live?.secret, stackFile);
        const shown = { version: 1, stack, stand, runs: live?.secret ?? null };
        process.stdout.write(options.json === true ? `${JSON.stringify(shown)}\n` : `${stand}\n`);
        return;
    }
    const goal: Goal = options.finish === true ? "finish" : "begin";
    const plan = planRotation(goal, place.settings, live?.secret, stackFile);
    say(plan.stand);
    // What is taken away with the second deploy cannot be read after it.
    const keys = live === undefined ? undefined : await readKeys(live.access, place.namespace, live.secret);
    if (goal === "finish" && plan.deploy && live !== undefined)
        await check(place, live, [["the new key", keys?.at(0), true]]);
    if (plan.edit !== undefined) {
        edit(checkoutRoot, stack, plan.edit);
        const { keyGeneration, acceptPreviousKey } = plan.edit;
        say(
            `${stackFile}: keyGeneration ${keyGeneration}, acceptPreviousKey ${String(acceptPreviousKey)} → commit this change`,
        );
    }
    if (options.editOnly === true) {
        if (plan.deploy) say("not deployed: --edit-only; the push of this change deploys it");
        return;
    }
    if (plan.deploy) await deploy(stack, options.yes === true);
    await tell(goal, plan, stackPlace(checkoutRoot, stack), keys);
}

/** What runs now, checked with the keys themselves. */
async function tell(goal: Goal, plan: Plan, place: StackPlace, before: readonly string[] | undefined): Promise<void> {
    const live = await readLive(place);
    if (live === undefined) throw new Error("the release is not there after the deploy");
    const now = await readKeys(live.access, place.namespace, live.secret);
    const { keyGeneration } = place.settings;
    if (goal === "begin") {
        await check(place, live, [
            [`key ${keyGeneration}`, now?.at(0), true],
            [`key ${keyGeneration - 1}`, now?.at(1), true],
        ]);
        say(
            `give clients key ${keyGeneration}: kubectl --namespace ${place.namespace} get secret ${live.secret} -o go-template='{{.data.key | base64decode}}'`,
        );
        say("when all of them have it: npx --no ml-api rotate-key <env> --finish");
        return;
    }
    await check(place, live, [
        [`key ${keyGeneration}`, now?.at(0), true],
        ...(plan.deploy ? ([[`key ${keyGeneration - 1}`, before?.at(1), false]] as const) : []),
    ]);
    say(`key ${keyGeneration} is the only one`);
}

/** Keys that this program does not make, it cannot rotate. */
function refuseOthersKeys({ settings }: StackPlace, stack: string): void {
    const secret = keySecretOf(settings);
    const refuse = (what: string, fix: string): never => {
        throw new InputError("key rotation", [{ where: stackFileName(stack), what, fix }]);
    };
    if (secret === undefined) refuse("the API asks for no key (apiKey.enabled: false)", "there is nothing to rotate");
    if (secret?.ours === false)
        refuse(
            `the keys are in the Secret ${secret.name}, which the values name (apiKey.existingSecret)`,
            "write both keys into it, one per line and the new one first; raise apiKey.generation, so that pods read it; later take the old one out",
        );
    if (settings.apiKey !== undefined)
        refuse(
            "the stack gives its key itself (apiKey), and only Pulumi can read it",
            [
                "set previousApiKey to the old key and apiKey to the new one (pulumi config set --secret), keyGeneration one higher and acceptPreviousKey true, and deploy;",
                "later remove previousApiKey, set acceptPreviousKey false, and deploy again",
            ].join(" "),
        );
}

interface LiveKeys {
    readonly access: ApiAccess;
    /** Name of the Secret whose keys are accepted. */
    readonly secret: string;
    readonly values: Values;
}

/** Undefined when nothing is deployed. @throws NoAnswer */
async function readLive(place: StackPlace): Promise<LiveKeys | undefined> {
    const { access, records } = await openRecords(place, place.env, PATIENCE_MS);
    const newest = records.filter(({ status }) => status === "deployed").at(-1);
    if (newest === undefined) return undefined;
    const { values } = decodeRecord(newest.secret);
    const secret = isValues(values["apiKey"]) ? values["apiKey"]["existingSecret"] : undefined;
    return typeof secret === "string" ? { access, secret, values } : undefined;
}

/** The accepted keys, newest first; undefined when they may not be read. */
async function readKeys(access: ApiAccess, namespace: string, secret: string): Promise<readonly string[] | undefined> {
    const path = `/api/v1/namespaces/${namespace}/secrets/${secret}`;
    const { status, body } = await request(access, { path, timeoutMs: PATIENCE_MS });
    if (status !== 200) return undefined;
    const { data } = JSON.parse(body) as { data?: { keys?: string } };
    return Buffer.from(data?.keys ?? "", "base64")
        .toString()
        .split("\n")
        .filter((line) => line !== "");
}

/** @throws Error when the API accepts a key that it should not, or the other way round */
async function check(
    place: StackPlace,
    { access, values }: LiveKeys,
    wanted: readonly (readonly [what: string, key: string | undefined, accepted: boolean])[],
): Promise<void> {
    if (!(await podsServe(access))) {
        say("the keys are not checked: the pods of this cluster only pretend to run");
        return;
    }
    const { kubectl } = await ensureTools(["kubectl"], { log: logToStderr });
    const { release, namespace, env } = place;
    const context = wantedContext(place.context, env);
    const leading = [...(context === undefined ? [] : ["--context", context]), "--namespace", namespace];
    const verify = isValues(values["verify"]) ? values["verify"] : {};
    const url = typeof verify["path"] === "string" ? verify["path"] : "/predict";
    const ask = async (address: string): Promise<void> => {
        for (const [what, key, accepted] of wanted) {
            if (key === undefined) {
                say(`${what} is not checked: it is not in the cluster any more`);
                continue;
            }
            const { status } = await fetch(address + url, {
                method: "POST",
                headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
                body: JSON.stringify(verify["sample"] ?? {}),
                signal: AbortSignal.timeout(PATIENCE_MS),
            });
            const fault = answerFault(status, accepted);
            if (fault !== undefined) throw new Error(`${what} ${fault}`);
            say(`${what} is ${accepted ? "accepted" : "refused"} (${status})`);
        }
    };
    try {
        await forwarded({ release, env, cwd: checkoutRoot }, leading, ask, { program: kubectl.path });
    } catch (error) {
        if (!(error instanceof Error) || !mayNotForward(error.message)) throw error;
        say(
            "the keys are not checked: these credentials may not forward a port to a pod → npx --no ml-api rbac <env> --open prints that right",
        );
    }
}

/** Whoever deploys need not be somebody who may reach the pods. */
export function mayNotForward(message: string): boolean {
    return /cannot (?:get|list|create) resource "pods(?:\/portforward)?"/.test(message);
}

/**
 * Whether an answer shows that a key is accepted or refused. A request that is wrong in another way was let in.
 *
 * @returns what is wrong, as the end of a sentence
 */
export function answerFault(status: number, accepted: boolean): string | undefined {
    const refused = status === 401 || status === 403;
    if (status >= 500 || status === 404) return `could not be checked: the API answers ${status}`;
    if (refused !== accepted) return undefined;
    return `should be ${accepted ? "accepted" : "refused"}, and the API answers ${status}`;
}

/** Sets the two keys of the configuration; every other byte of the stack file stays. */
export function edit(
    root: string,
    stack: string,
    { keyGeneration, acceptPreviousKey }: NonNullable<Plan["edit"]>,
): void {
    const file = stackFileName(stack);
    const project = readProject(root).name;
    const full = path.join(root, file);
    const text = fs.readFileSync(full, "utf8");
    // A bare key is one of the project, too.
    const spelled = (key: string): string =>
        new RegExp(`^\\s+${key}\\s*:`, "m").test(text) &&
        readStackFile(root, stack, project).places.has(`${project}:${key}`)
            ? `config.${key}`
            : `config.${project}:${key}`;
    const changes = [
        [spelled("keyGeneration"), String(keyGeneration)],
        [spelled("acceptPreviousKey"), String(acceptPreviousKey)],
    ] as const;
    fs.writeFileSync(full, setValues(text, changes, file));
}

async function deploy(stack: string, yes: boolean): Promise<void> {
    const env = await deployEnvironment();
    const args = ["up", "--stack", stack, ...(yes ? ["--yes", "--skip-preview"] : [])];
    const code = await foreground("pulumi", args, { env, cwd: checkoutRoot });
    if (code !== 0)
        throw new ExitCode(
            code,
            `pulumi up ended with exit code ${code}; the same command goes on from here when it is put right`,
        );
}

function say(text: string): void {
    process.stdout.write(`${visibleLines(text)}\n`);
}
