// Runs the test files below the given folders with Node's own runner, all in one process.
// --testNamePattern=TEXT (or -t TEXT) runs the tests whose names match. No test at all is a failure.
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { testNamePattern: { type: 'string', short: 't' } },
});
const files = positionals.flatMap((folder) =>
  readdirSync(folder).filter((name) => name.endsWith('.test.ts')).sort().map((name) => path.join(folder, name)));
const options = ['--import', 'tsx', '--test', '--test-isolation=none', '--test-reporter=spec', '--test-force-exit', '--test-timeout=120000'];
if (values.testNamePattern) options.push(`--test-name-pattern=/${values.testNamePattern.replaceAll('/', '\\/')}/i`);

const child = spawn(process.execPath, [...options, ...files], { stdio: ['ignore', 'pipe', 'inherit'] });
let tail = '';
child.stdout.on('data', (chunk) => {
  process.stdout.write(chunk);
  tail = (tail + chunk).slice(-2000);
});
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => child.kill(signal));
child.on('close', (code) => {
  const passed = Number(/^\S* ?pass (\d+)$/m.exec(tail)?.[1] ?? 0);
  if (code === 0 && passed === 0) console.error('error: no test was run');
  process.exitCode = code === 0 && passed > 0 ? 0 : 1;
});
