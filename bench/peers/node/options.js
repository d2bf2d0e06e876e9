// The command line that both servers share: [--broadcast] [--deflate | --takeover] [--cert FILE --key FILE]
"use strict";
const fs = require("fs");

const words = process.argv.slice(2);
const value = (name) => (words.includes(name) ? fs.readFileSync(words[words.indexOf(name) + 1]) : undefined);

module.exports = {
  broadcast: words.includes("--broadcast"),
  compress: words.includes("--deflate") || words.includes("--takeover"),
  takeover: words.includes("--takeover"),
  tls: words.includes("--cert") ? { cert: value("--cert"), key: value("--key") } : undefined,
};
