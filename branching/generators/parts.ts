import { stringify } from "yaml";
import { ACTIONS } from "./actions";

/** What the workflows have in common. */
const RUNNER = "ubuntu-24.04";
const HEADER =
    "# Generated from branching/branches.yaml by `ml-api branches --write`. Change that file, not this one.\n" +
    "# Commits of actions: " +
    Object.values(ACTIONS)
        .map(({ uses, release }) => `${uses.split("@")[0] ?? ""} ${release}`)
        .join(", ") +
    ".\n";

export type Step = Readonly<Record<string, unknown>>;

export const checkout: Step = {
    uses: ACTIONS.checkout.uses,
    // The whole history: what is an ancestor of what decides over deploys. No credential stays for later steps.
    with: { "fetch-depth": 0, "persist-credentials": false },
};
export const install: readonly Step[] = [
    { uses: ACTIONS.setupNode.uses, with: { "node-version": 22, cache: "npm" } },
    { run: "npm ci" },
];
/** A short-lived token for the identity of this workflow run; no secret is stored. */
export const login: readonly Step[] = [
    { uses: ACTIONS.pulumiCli.uses, with: { "pulumi-version-file": ".pulumi.version" } },
    { uses: ACTIONS.pulumiLogin.uses, with: { organization: "${{ vars.PULUMI_ORGANIZATION }}" } },
];

export const job = { "runs-on": RUNNER, "timeout-minutes": 30 };
/** Stops at the first command that fails, also inside a pipe. */
export const defaults = { run: { shell: "bash" } };
export const NOT_A_FORK = "github.event.pull_request.head.repo.full_name == github.repository";

export const HAS_REGISTRY = "vars.IMAGE_REPOSITORY != ''";

/** Adds what needs the right to push, for one step, as git reads it from its environment. */
export const WITH_TOKEN =
    'export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraheader GIT_CONFIG_VALUE_0="AUTHORIZATION: basic $(printf \'x-access-token:%s\' "$TOKEN" | base64 -w0)"';

export function preview(stack: string): string {
    return `pulumi preview --stack "${stack}" --diff --policy-pack policy --non-interactive`;
}

/** A workflow as the text of its file. */
export function document(workflow: object): string {
    return HEADER + stringify(workflow, { lineWidth: 0, aliasDuplicateObjects: false });
}
