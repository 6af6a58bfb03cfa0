import { capture } from "./process";

/** A stack as its back end knows it. */
export interface KnownStack {
    /** As the back end lists it; Pulumi Cloud puts its organization before it. */
    readonly name: string;
    /** Without that. */
    readonly stack: string;
    /** Of its state; 0 before its first deploy. */
    readonly resources: number;
    /** ISO 8601; undefined before its first deploy. */
    readonly lastUpdate?: string;
}

/** The stacks of a project that its back end has. */
export async function knownStacks(root: string, env: NodeJS.ProcessEnv): Promise<readonly KnownStack[]> {
    const listed = JSON.parse(await capture("pulumi", ["stack", "ls", "--json"], { env, cwd: root })) as {
        name: string;
        resourceCount?: number;
        lastUpdate?: string;
    }[];
    return listed.map(({ name, resourceCount = 0, lastUpdate }) => ({
        name,
        stack: name.split("/").at(-1) ?? name,
        resources: resourceCount,
        ...(lastUpdate === undefined ? {} : { lastUpdate }),
    }));
}
