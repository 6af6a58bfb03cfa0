import { InvalidArgumentError } from "commander";
import { checkoutRoot } from "../local/paths";
import { bootstrap } from "../rbac/bootstrap";
import { grant, type Manifest, type Subject, toYaml } from "../rbac/manifests";
import { deployerClusterNeeds, deployerNeeds, openNeeds, pullRequestNeeds, type Deployed } from "../rbac/needs";
import { ensureHelm, renderStack } from "./rendered-stack";
import { findStack } from "./stacks";

export interface RbacOptions {
    readonly bootstrap?: true;
    readonly pullRequest?: true;
    readonly open?: true;
    readonly to?: Subject;
    readonly json?: true;
}

/** Prints the exact rights of an identity for a stack, to be applied by whoever may give them. */
export async function rbacCommand(name: string, options: RbacOptions): Promise<void> {
    const stack = findStack(checkoutRoot, name);
    const { settings, objects } = await renderStack(checkoutRoot, stack, await ensureHelm());
    const { name: release, namespace, createNamespace, environment } = settings;
    const manifests = manifestsOf(stack, { release, namespace, createNamespace, objects }, options);
    if (options.bootstrap === true && createNamespace)
        process.stderr.write(
            `the stack makes its namespace itself → before its first deploy: pulumi config set createNamespace false --stack ${stack}\n`,
        );
    process.stdout.write(
        options.json === true
            ? `${JSON.stringify({ version: 1, stack, environment, namespace, objects: manifests.map(({ object }) => object) }, undefined, 2)}\n`
            : toYaml(manifests),
    );
}

/** The objects that `ml-api rbac` prints. Without a subject, a group of the stack's own gets the rights. */
export function manifestsOf(stack: string, deployed: Deployed, options: RbacOptions): Manifest[] {
    const { namespace, release } = deployed;
    const role = (who: string): string => `ml-api-${release}-${who}`;
    const to = (group: string): Subject => options.to ?? { kind: "Group", name: `ml-api:${stack}:${group}` };
    if (options.bootstrap === true) return bootstrap(deployed);
    if (options.open === true) return grant(role("open"), namespace, openNeeds(deployed), to("people"));
    if (options.pullRequest === true)
        return grant(role("pull-request"), namespace, pullRequestNeeds(deployed), to("pull-requests"));
    return [
        ...grant(role("deployer"), namespace, deployerNeeds(deployed), to("deployers")),
        ...grant(`${role("deployer")}-${namespace}`, undefined, deployerClusterNeeds(deployed), to("deployers")),
    ];
}

/** `user:NAME`, `group:NAME` or `serviceaccount:NAMESPACE/NAME`. @throws InvalidArgumentError */
export function parseSubject(text: string): Subject {
    const [, kind, name] = /^(user|group):([\x21-\x7e]+)$/.exec(text) ?? [];
    if (name !== undefined) return { kind: kind === "user" ? "User" : "Group", name };
    const label = "[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?";
    const [, namespace, account] = new RegExp(`^serviceaccount:(${label})/(${label})$`).exec(text) ?? [];
    if (namespace !== undefined && account !== undefined) return { kind: "ServiceAccount", name: account, namespace };
    throw new InvalidArgumentError("It is user:NAME, group:NAME or serviceaccount:NAMESPACE/NAME.");
}
