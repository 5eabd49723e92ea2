# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways back, found by TypeScript's own parser in the example backend's node_modules."""

from __future__ import annotations

from pathlib import Path

import pytest
from npm_project import BACKEND, node_folder

from ansible_collections.balcon.rollback.plugins.module_utils._domain.migration_files import MigrationFile
from ansible_collections.balcon.rollback.plugins.module_utils._migrations.down_parser import prove_downs

FILES = {
    "function.ts": ("export async function down(q: Q): Promise<void> { await q.drop('x'); }", "proven"),
    "arrow.ts": ("export const down = async ({ context }: P) => context.drop('x');", "proven"),
    "typed.ts": ("export const down: Migration = async ({ context }) => { await context.drop(); };", "proven"),
    "default.ts": ("export default { up() {}, async down(q) { await q.drop('x'); } } satisfies M;", "proven"),
    "shorthand.ts": ("const up = 1; async function down(q) { await q.x(); }\nexport default { up, down };", "proven"),
    "named.ts": ("async function down(q) { await q.x(); }\nexport { down };", "proven"),
    "renamed.ts": ("async function back(q) { await q.x(); }\nexport { back as down };", "proven"),
    "constant.ts": ("const m = { down: async (q) => { await q.x(); } } as M;\nexport default m;", "proven"),
    "object.ts": ("export const migration = { up() {}, down: async (q) => q.x() };", "proven"),
    "wrapped.ts": ("export default defineMigration({ up() {}, down: async (q) => q.x() });", "proven"),
    "class.ts": ("export class M implements I { async down(q: Q) { await q.query(`DROP TABLE x`); } }", "proven"),
    "module.js": ("module.exports = { up: async () => {}, down: async (q) => { await q.x(); } };", "proven"),
    "member.js": ("exports.up = 1; exports.down = function (knex) { return knex.schema.dropTable('x'); };", "proven"),
    "chain.cjs": ("module.exports = exports = { async down(q) { await q.x(); } };", "proven"),
    "quoted.js": ("module.exports['down'] = async (q) => { await q.x(); };", "proven"),
    "tagged.ts": ("export async function down() { await sql`DROP TABLE x`; }", "proven"),
    "guarded.ts": ("export async function down(q) { if (!q) throw new Error('no'); await q.x(); }", "proven"),
    "async-method.mts": ("export default class { static async down(q) { await q.x(); } }", "proven"),
    "empty.ts": ("export async function down(): Promise<void> {\n  // dropTable('x')\n  /* q.drop() */\n}", "empty"),
    "return.ts": ("export async function down() { return; }", "empty"),
    "promise.ts": ("export const down = () => Promise.resolve();", "empty"),
    "awaited.ts": ("export async function down() { await Promise.resolve(); }", "empty"),
    "log.ts": ("export async function down() { console.log('dropTable'); console.warn(1); }", "empty"),
    "unused.ts": ("export async function down({ context }) { const q = context; void q; return undefined; }", "empty"),
    "strings.js": ("exports.down = async () => { 'await q.dropTable()'; };", "empty"),
    "throws.ts": ("export async function down() { throw new Error('irreversible'); }", "missing"),
    "says-and-throws.ts": ("export async function down() { console.log('no'); throw fail('x'); }", "missing"),
    "none.ts": ("export async function up(q) { await q.x(); }\nfunction down() { q.x(); }", "missing"),
    "in-comment.js": ("module.exports = { up() {} /* down() { q.x(); } */ };", "missing"),
    "in-text.js": ("module.exports = { up() { return 'exports.down = () => q.x()'; } };", "missing"),
    "false.js": ("exports.up = 1; exports.down = false;", "missing"),
    "null.ts": ("export default { up() {}, down: null };", "missing"),
    "undefined.ts": ("export const down = undefined;", "missing"),
    "nothing.ts": ("", "missing"),
    "nested.js": ("module.exports = { options: { down() { q.x(); } } };", "missing"),
    "elsewhere.ts": ("export { down } from './other';", "not_proven"),
    "imported.ts": ("import { down } from './other';\nexport { down };", "not_proven"),
    "star.ts": ("export * from './other';", "not_proven"),
    "default-import.ts": ("import m from './m';\nexport default m;", "not_proven"),
    "required.js": ("module.exports = require('./other');", "not_proven"),
    "made.js": ("exports.down = make('x');", "not_proven"),
    "inherits.ts": ("export default class M extends Base { async up() {} }", "not_proven"),
    "spread.js": ("module.exports = { ...require('./other') };", "not_proven"),
    "broken.ts": ("export async function down( {{{", "not_proven"),
    "cycle.js": ("const a = b; const b = a; module.exports = a;", "not_proven"),
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    folder = tmp_path_factory.mktemp("migrations")
    for name, (text, _verdict) in FILES.items():
        (folder / name).write_text(text)
    found = prove_downs([MigrationFile(name, str(folder / name)) for name in FILES], BACKEND, node_folder())
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    return found


@pytest.mark.parametrize("name", FILES)
def test_verdicts(verdicts: dict[str, tuple[str, str]], name: str) -> None:
    verdict, reason = verdicts[name]
    assert verdict == FILES[name][1], reason
    assert reason


def test_nothing_is_run(tmp_path: Path) -> None:
    file, witness = tmp_path / "1.js", tmp_path / "was-run"
    file.write_text(f"require('fs').writeFileSync({str(witness)!r}, ''); exports.down = async (q) => q.x();")
    assert prove_downs([MigrationFile("1.js", str(file))], BACKEND, node_folder())["1.js"][0] == "proven"
    assert not witness.exists()


def test_no_parser_and_no_node(tmp_path: Path) -> None:
    file = tmp_path / "1.js"
    file.write_text("exports.down = async (q) => q.x();")
    files = [MigrationFile("1.js", str(file)), MigrationFile("2.js")]
    verdicts = prove_downs(files, tmp_path, node_folder())
    assert verdicts == {"1.js": ("not_proven", "the project's node_modules have no typescript to parse it with")}
    assert prove_downs([MigrationFile("2.js")], tmp_path) == {}
