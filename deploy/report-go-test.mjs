// Reads "go test -json" and prints what a person wants to see: a line for each
// package, and the whole output of each test that failed. The number of tests
// (subtests included) goes to the file named on the command line.
//
//   go test -json ./... | node report-go-test.mjs COUNTS.json
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const counts = { passed: 0, failed: 0, skipped: 0 };
const output = new Map(); // of tests that are running, by package and test
const failedIn = new Map(); // package -> number of failed tests
const skips = [];

for await (const line of createInterface({ input: process.stdin })) {
  let event;
  try {
    event = JSON.parse(line);
  } catch {
    console.log(line); // such as a complaint of the go command itself
    continue;
  }
  const { Action: action, Package: pkg, Test: test, Output: text, ImportPath: building } = event;
  if (action === 'build-output') {
    process.stdout.write(text);
    continue;
  }
  if (action === 'build-fail') {
    console.log(`FAIL\t${building}\t[does not compile]`);
    continue;
  }
  const key = `${pkg}\0${test ?? ''}`;
  switch (action) {
    case 'output':
      if (test) output.set(key, (output.get(key) ?? '') + text);
      else if (/^(ok|FAIL|panic|\?)\s/.test(text) || /^(panic:|fatal error:|WARNING: DATA RACE|goroutine )/.test(text)) {
        if (!text.includes('[no test files]')) process.stdout.write(text);
      } else output.set(key, (output.get(key) ?? '') + text);
      break;
    case 'pass':
    case 'skip':
      if (test) {
        counts[action === 'pass' ? 'passed' : 'skipped']++;
        if (action === 'skip') {
          const reason = (output.get(key) ?? '').split('\n').find((l) => /^\s+\S+\.go:\d+: /.test(l));
          skips.push(`${test}: ${reason?.trim() ?? ''}`);
        }
      }
      output.delete(key);
      break;
    case 'fail':
      if (test) {
        counts.failed++;
        failedIn.set(pkg, (failedIn.get(pkg) ?? 0) + 1);
        process.stdout.write(output.get(key) ?? '');
      } else {
        // A package that fails without a failing test: it doesn't compile, its
        // TestMain failed, or it died.
        if (!failedIn.get(pkg)) counts.failed++;
        process.stdout.write(output.get(key) ?? '');
        for (const [running, text] of output) {
          if (running.startsWith(`${pkg}\0`) && running !== key) process.stdout.write(text);
        }
      }
      output.delete(key);
      break;
  }
}
for (const skip of skips) console.log(`skipped ${skip}`);
writeFileSync(process.argv[2], JSON.stringify(counts));
