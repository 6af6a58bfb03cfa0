/** Whether everything is tested, however long it takes: `make test-all`, and the soak. `make test` tests each room in its essentials. */
export const thorough = process.env["ML_API_TEST_ALL"] === "1";

/** A test of a thorough run, for what takes long and has a shorter neighbour that would notice most of it. */
export const itThoroughly = (title: string, test: () => void | Promise<void>): void => {
    if (thorough) it(title, test);
};
