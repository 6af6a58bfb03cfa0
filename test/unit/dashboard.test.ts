import { expect } from "chai";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { dashboardConfigMap, dashboardText } from "../../observability/dashboard";
import { queries } from "../../observability/panels";

interface Placed {
    readonly id: number;
    readonly title: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

// That each query is answered with numbers, test/cluster/prometheus.test.ts shows.
describe("the dashboard", () => {
    it("is checked in as it is made now", () => {
        const file = join(__dirname, "..", "..", "observability", "grafana-dashboard.json");
        expect(readFileSync(file, "utf8"), "npx --no ml-api dashboard > observability/grafana-dashboard.json").to.equal(
            dashboardText(),
        );
    });

    it("puts its panels side by side: none over another, none over the edge", () => {
        const { panels } = JSON.parse(dashboardText()) as { panels: readonly Placed[] };
        expect(new Set(panels.map(({ id }) => id)).size).to.equal(panels.length);
        const cells = panels.flatMap(({ title, gridPos: { x, y, w, h } }) => {
            expect(x + w, title).to.be.at.most(24);
            return Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`);
        });
        expect(new Set(cells).size).to.equal(cells.length);
    });

    it("asks about one API in one namespace, but for alerts, whose series do not tell", () => {
        const everywhere = queries.filter(
            ({ expr }) => !expr.includes('namespace="$namespace"') || !expr.includes("$api"),
        );
        expect(everywhere.map(({ source }) => source)).to.deep.equal(["Prometheus"]);
    });

    it("fits into a ConfigMap", () => {
        const map = dashboardConfigMap("monitoring") as { data: Readonly<Record<string, string>> };
        expect(JSON.parse(map.data["ml-api.json"] ?? "")).to.deep.include({ uid: "ml-api" });
        expect(JSON.stringify(map).length).to.be.lessThan(1 << 20);
    });
});
