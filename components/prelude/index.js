// What has to be there before everything else; `index.ts` loads it first.
"use strict";

require("./load-typescript");
require("./without-npm");
require("./debug-messages");
require("./promise-stacks");
