// Runs the test suite http-cache-tests against the cache at the URL in argv and
// prints what came of each test as JSON. The suite's own command line wants
// environment variables of npm; this takes its runner as it is.
import fetch from 'node-fetch'
import { getResults, runTests } from 'http-cache-tests/client/runner.mjs'
import suites from 'http-cache-tests/tests/index.mjs'
import surrogate from 'http-cache-tests/tests/surrogate-control.mjs'

const all = [...suites, surrogate]
await runTests(all, fetch, false, process.argv[2], 400)
const results = getResults()
const out = []
for (const suite of all) {
  for (const test of suite.tests) {
    if (test.browser_only) continue
    const result = results[test.id]
    out.push({ suite: suite.id, id: test.id, kind: test.kind || 'required', passed: result === true, why: result === true ? '' : String(result) })
  }
}
console.log(JSON.stringify(out))
