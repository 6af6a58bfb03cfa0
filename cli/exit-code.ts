/** A failure that carries the exit code of the program that failed. */
export class ExitCode extends Error {
    constructor(
        readonly code: number,
        message: string,
    ) {
        super(message);
    }
}
