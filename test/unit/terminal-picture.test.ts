import { expect } from "chai";
import { styleText } from "node:util";
import { terminalPicture } from "../../distribution/terminal-picture";

const painted = (format: Parameters<typeof styleText>[0], text: string): string =>
    styleText(format, text, { validateStream: false });

describe("a picture of a terminal", () => {
    const output = `${painted("bold", "dev")}  ${painted("green", "deployed")}  a<b & c\n\n${painted("dim", "-")}  ${painted(["red", "bold"], "failed")}\n`;
    const picture = terminalPicture("ml-api status", output);
    const texts = [...picture.matchAll(/<text x="([\d.]+)" y="([\d.]+)"([^>]*)>([^<]*)</g)].map(
        ([, x, y, attributes = "", text]) => ({ x: Number(x), y: Number(y), attributes, text }),
    );

    it("shows the command and every word, in its line and column", () => {
        expect(texts.map(({ text }) => text)).to.deep.equal([
            ...["$ ml-api status", "dev", "deployed", "  a&lt;b &amp; c", "-", "failed"],
        ]);
        const [, dev, deployed, , dash] = texts;
        expect((deployed?.x ?? 0) - (dev?.x ?? 0)).to.be.closeTo(5 * 8.4, 0.1);
        expect((dash?.y ?? 0) - (dev?.y ?? 0), "an empty line between").to.equal(2 * 19);
    });

    it("keeps what the terminal would show in colour, bold and dim, and forgets it where that ends", () => {
        const attributes = (word: string): string => texts.find(({ text }) => text === word)?.attributes ?? "";
        expect(attributes("deployed")).to.contain("#7ee787").and.not.to.contain("bold");
        expect(attributes("failed")).to.contain("#ff7b72").and.to.contain("bold");
        expect(attributes("-")).to.contain("opacity");
        expect(attributes("  a&lt;b &amp; c")).not.to.match(/fill|bold|opacity/);
    });
});
