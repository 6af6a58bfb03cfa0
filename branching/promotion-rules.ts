import { didYouMean } from "../components/config/nearest";
import { type BranchMap, type Broken, reaches } from "./map";

/** What is wrong with the map's `promotion`: environments that nobody deploys, circles, branches that lead nowhere. */
export function promotionBroken(map: BranchMap, environments: readonly string[]): Broken[] {
    const { promotion = {}, branches } = map;
    return Object.entries(promotion).flatMap(([environment, { from, onto }]): Broken[] => {
        const keys = ["promotion", environment];
        const unknown = [environment, from].filter((name) => !environments.includes(name));
        const seen: string[] = [];
        let before: string | undefined = from;
        while (before !== undefined && before !== environment && !seen.includes(before)) {
            seen.push(before);
            before = promotion[before]?.from;
        }
        const deploying = Object.entries(branches).filter(
            ([, { onPush }]) => "deploy" in onPush && onPush.deploy === environment,
        );
        const leads = onto in branches && deploying.some(([name]) => name === onto || reaches(map, onto, name));
        return [
            ...unknown.map((name) => ({
                keys,
                what: `"${name}" has no deployer${didYouMean(name, environments)}`,
                fix: "add it to one list under deployers, or correct the name",
            })),
            ...(before !== environment
                ? []
                : [
                      {
                          keys,
                          what: `${environment} waits for itself, over ${from}`,
                          fix: "let one environment be the first",
                      },
                  ]),
            ...(leads
                ? []
                : [
                      {
                          keys: [...keys, "onto"],
                          what: `a merge into "${onto}" never leads to a branch that deploys ${environment}${didYouMean(onto, Object.keys(branches))}`,
                          fix: `choose one of ${deploying.map(([name]) => name).join(", ")}, or a branch that is merged there`,
                      },
                  ]),
        ];
    });
}
