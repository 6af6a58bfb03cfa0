/** Milliseconds for the question to GitHub. */
const PATIENCE_MS = 10_000;

/** One review of a workflow run's deploys, as GitHub tells it. */
interface Review {
    readonly state: string;
    readonly user?: { readonly login?: string };
    readonly environments?: readonly { readonly name?: string }[];
}

/**
 * Who agreed that this workflow run deploys to an environment. Only the run's own reviews tell; the token needs `actions: read`. Never
 * rejects: a deploy that has happened is written down, also where nobody can say who agreed.
 *
 * @param env the variables of a GitHub workflow, with its token as `GH_TOKEN`
 * @returns log-ins, joined by commas; undefined outside of a run, and where nobody had to agree
 */
export async function approverOf(
    environment: string,
    env: NodeJS.ProcessEnv = process.env,
    say: (text: string) => void = (text) => process.stderr.write(`${text}\n`),
): Promise<string | undefined> {
    const { GITHUB_API_URL: api, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run, GH_TOKEN: token } = env;
    if ([api, repository, run, token].some((value) => value === undefined || value === "")) return undefined;
    try {
        const answer = await fetch(`${api ?? ""}/repos/${repository ?? ""}/actions/runs/${run ?? ""}/approvals`, {
            headers: { accept: "application/vnd.github+json", authorization: `Bearer ${token ?? ""}` },
            signal: AbortSignal.timeout(PATIENCE_MS),
        });
        if (!answer.ok) throw new Error(`GitHub answers ${answer.status}`);
        const reviews = (await answer.json()) as readonly Review[];
        const agreed = reviews.filter(
            ({ state, environments = [] }) =>
                state === "approved" && environments.some(({ name }) => name === environment),
        );
        const names = new Set(agreed.flatMap(({ user }) => user?.login ?? []));
        return names.size === 0 ? undefined : [...names].join(", ");
    } catch (error) {
        say(`who agreed to this deploy is not known: ${error instanceof Error ? error.message : String(error)}`);
        return undefined;
    }
}
