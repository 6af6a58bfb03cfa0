import { findCluster } from "../components/config/cluster";
import { isValues } from "../components/config/values";
import { lookForDrift, putRight } from "../components/guarded-release/drift/look";
import { holdName } from "../components/guarded-release/hold/hold";
import { NoAnswer, openRecords } from "../components/guarded-release/live/live";
import { decodeRecord, type HelmRecord } from "../components/guarded-release/live/record";
import { isPending } from "../components/guarded-release/recover/repair";
import { apiKeySecretName } from "../components/ml-api/values";
import { checkoutRoot } from "../local/paths";
import { confirm } from "./confirm";
import { paint } from "./diff-terminal";
import { type DriftReport, driftExitCode, driftJson, driftText } from "./drift-report";
import { type StackPlace, stackPlace } from "./stack-cluster";
import { findStack } from "./stacks";

export interface DriftOptions {
    readonly json?: boolean;
    readonly fix?: boolean;
    readonly yes?: boolean;
}

/** Milliseconds until the cluster has answered with Helm's records. */
const OPEN_MS = 15_000;

/** Compares the live objects with those that the release has deployed, field by field; puts them right when told to. */
export async function driftCommand(
    name: string,
    { json = false, fix = false, yes = false }: DriftOptions,
): Promise<void> {
    const stack = findStack(checkoutRoot, name);
    const place = stackPlace(checkoutRoot, stack);
    const found = await look(stack, place);
    if (!fix || found.report.steps.length === 0) {
        show(found.report, json);
        if (fix) leftOver(found.report);
        return;
    }
    process.stderr.write(driftText(found.report, paint));
    process.stderr.write(
        "  `pulumi up` would leave this as it is: the release has not changed, so there is nothing to update.\n" +
            "  So the patch is sent that Helm would send. Pods are replaced where a pod template changes.\n",
    );
    if (!yes) await confirm(`Put ${found.report.steps.map((step) => step.name).join(", ")} right?`);
    const refused = await putRight(found.access, found.report.steps);
    for (const { name: object, why } of refused) process.stderr.write(`  ! ${object}: ${why}\n`);
    const after = await look(stack, place);
    show(after.report, json);
    leftOver(after.report);
}

function show(report: DriftReport, json: boolean): void {
    process.stdout.write(json ? driftJson(report) : driftText(report, paint));
    process.exitCode = driftExitCode(report);
}

/** What nobody should delete or change without having looked at it. */
function leftOver({ extras, namespace }: DriftReport): void {
    for (const { name, claims } of extras)
        if (claims)
            process.stderr.write(
                `  ${name} stays: look at it, then kubectl --namespace ${namespace} delete ${name.toLowerCase()}\n`,
            );
}

async function look(stack: string, place: StackPlace): Promise<{ report: DriftReport; access: Opened["access"] }> {
    const { settings, namespace, release, context, env } = place;
    const { access, record } = await deployed(place);
    const owner = { release, namespace };
    const known = [apiKeySecretName(settings), keySecretIn(record), holdName(release)];
    const drift = await lookForDrift(access, { record, owner, known });
    const cluster = findCluster(context, env)?.context ?? access.server;
    return { access, report: { stack, release, namespace, revision: record.revision, cluster, ...drift } };
}

type Opened = Awaited<ReturnType<typeof openRecords>>;

/** The record of what should be there. @throws Error when there is none, or it is just changing */
async function deployed(place: StackPlace): Promise<{ access: Opened["access"]; record: HelmRecord }> {
    const { access, records } = await openRecords(place, place.env, OPEN_MS).catch((error: unknown) => {
        if (error instanceof NoAnswer) throw new Error(`drift cannot be told: ${error.message}`);
        throw error;
    });
    const newest = records.at(-1);
    const good = records.findLast(({ status }) => status === "deployed");
    const where = `${place.release} in namespace ${place.namespace}`;
    if (newest !== undefined && isPending(newest.status))
        throw new Error(
            `drift cannot be told: revision ${newest.revision} of ${where} is "${newest.status}", so an update is under way, or died → ml-api status`,
        );
    if (good === undefined) throw new Error(`drift cannot be told: there is no deployed release ${where} → pulumi up`);
    return { access, record: decodeRecord(good.secret) };
}

/** The Secret of the API key that the release uses, whatever the stack file says by now. */
function keySecretIn({ values }: HelmRecord): string {
    const apiKey = values["apiKey"];
    const secret = isValues(apiKey) ? apiKey["existingSecret"] : undefined;
    return typeof secret === "string" ? secret : "";
}
