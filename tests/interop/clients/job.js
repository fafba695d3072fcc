// SPDX-License-Identifier: Apache-2.0
// What the clients in JavaScript share: a job comes as JSON, what is told goes out as JSON, a line each.
'use strict';

const fs = require('fs');

const decode = (text) => (text === null || text === undefined ? null : Buffer.from(text, 'base64'));
const encode = (data) => (data === null || data === undefined ? null : Buffer.from(data).toString('base64'));
const tell = (line) => fs.writeSync(1, `${JSON.stringify(line)}\n`);

// Does the job that the file holds.
async function run(operations) {
  const work = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
  try {
    await operations[work.op](work);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${error.stack || error}\n${(error.errors || []).join('\n')}\n`);
    process.exit(1);
  }
}

module.exports = { decode, encode, tell, run };
