# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that reads out of migration files what they do; node gets it on its standard input."""

from __future__ import annotations

from .down_script import PARSER

SCRIPT = (
    PARSER
    + r"""
const INTERFACE = new Set(['addColumn', 'removeColumn', 'changeColumn', 'renameColumn', 'createTable', 'dropTable',
  'dropAllTables', 'dropSchema', 'dropAllSchemas', 'renameTable', 'addIndex', 'removeIndex', 'addConstraint',
  'bulkDelete', 'bulkInsert', 'bulkUpdate']);
const SQL = new Set(['query', 'raw', 'unsafe', '$executeRaw', '$executeRawUnsafe', '$queryRaw', '$queryRawUnsafe']);
const TAG = /(?:^|\.)(?:sql|SQL|raw|\$executeRaw|\$queryRaw)$/;

// The values that names stand for, where a file gives a name one plain value.
function constants(source) {
  const found = new Map();
  const walk = (node) => {
    if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name) && node.initializer) {
      const known = found.has(node.name.text);
      found.set(node.name.text, known || !(node.parent.flags & ts.NodeFlags.Const) ? null : node.initializer);
    }
    if (ts.isParameter(node) && ts.isIdentifier(node.name)) found.set(node.name.text, null);
    ts.forEachChild(node, walk);
  };
  walk(source);
  return found;
}

// A value as data: text, numbers, lists, objects; {"$name"}, {"$call"} and {"$code"} for what only a run would tell.
function value(node, names, depth = 0) {
  node = bare(node);
  if (!node || depth > 12) return { $code: '' };
  const deeper = (each) => value(each, names, depth + 1);
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node)) return template(node, names, depth);
  if (ts.isNumericLiteral(node)) return Number(node.text);
  if (node.kind === ts.SyntaxKind.TrueKeyword) return true;
  if (node.kind === ts.SyntaxKind.FalseKeyword) return false;
  if (node.kind === ts.SyntaxKind.NullKeyword) return null;
  if (ts.isArrayLiteralExpression(node)) return node.elements.map(deeper);
  if (ts.isObjectLiteralExpression(node)) return object(node, names, deeper);
  if (ts.isIdentifier(node) && names.get(node.text)) return deeper(names.get(node.text));
  if (ts.isPropertyAccessExpression(node) || ts.isIdentifier(node)) return { $name: node.getText() };
  if (ts.isCallExpression(node)) return { $call: node.expression.getText(), arguments: node.arguments.map(deeper) };
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const sides = [deeper(node.left), deeper(node.right)];
    if (sides.some((side) => typeof side === 'string'))
      return sides.map((side) => (['string', 'number'].includes(typeof side) ? String(side) : '${…}')).join('');
  }
  return { $code: node.getText().slice(0, 80) };
}

function template(node, names, depth) {
  const part = (span) => {
    const known = value(span.expression, names, depth + 1);
    return (['string', 'number'].includes(typeof known) ? String(known) : '${…}') + span.literal.text;
  };
  return node.head.text + node.templateSpans.map(part).join('');
}

function object(node, names, deeper) {
  const found = {};
  for (const property of node.properties) {
    if (ts.isSpreadAssignment(property)) {
      const spread = deeper(property.expression);
      if (spread && typeof spread === 'object' && !('$code' in spread)) Object.assign(found, spread);
    } else if (ts.isShorthandPropertyAssignment(property)) found[property.name.text] = deeper(property.name);
    else if (ts.isPropertyAssignment(property) && nameOf(property.name))
      found[nameOf(property.name)] = deeper(property.initializer);
  }
  return found;
}

// The name of a function, by what it is declared as, assigned to, or the member of.
function functionName(node) {
  if (!ts.isFunctionLike(node)) return '';
  if (node.name && nameOf(node.name)) return nameOf(node.name);
  const parent = node.parent;
  if ((ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent) || ts.isPropertyDeclaration(parent)) &&
    nameOf(parent.name)) return nameOf(parent.name);
  const target = ts.isBinaryExpression(parent) ? /\.(\w+)$|\[['"](\w+)['"]\]$/.exec(parent.left.getText()) : null;
  return target ? target[1] || target[2] : '';
}

// The outermost named function that a node is in, "up" and "down" before all others.
function ownerOf(node) {
  const owners = [];
  for (let each = node; each; each = each.parent) if (functionName(each)) owners.push(functionName(each));
  return owners.find((name) => name === 'up' || name === 'down') || owners[owners.length - 1] || '';
}

function conditional(node) {
  for (let each = node; each.parent && !ts.isFunctionLike(each); each = each.parent)
    if ((ts.isIfStatement(each.parent) && each.parent.expression !== each) || ts.isConditionalExpression(each.parent))
      return true;
  return false;
}

function statementOf(node) {
  while (node.parent && !ts.isBlock(node.parent) && !ts.isSourceFile(node.parent) && !ts.isFunctionLike(node.parent))
    node = node.parent;
  return node;
}

function callOf(node, names) {
  if (ts.isTaggedTemplateExpression(node) && TAG.test(node.tag.getText()))
    return { method: 'query', place: node.template, arguments: [value(node.template, names)] };
  if (!ts.isCallExpression(node)) return null;
  const callee = bare(node.expression);
  if (!ts.isPropertyAccessExpression(callee)) return null;
  const method = SQL.has(callee.name.text) ? 'query' : callee.name.text;
  if (method !== 'query' && !INTERFACE.has(method)) return null;
  return { method, place: node.arguments[0] || node, arguments: node.arguments.map((each) => value(each, names)) };
}

function comments(source) {
  const seen = new Map();
  const walk = (node) => {
    for (const range of [...(ts.getLeadingCommentRanges(source.text, node.getFullStart()) || []),
      ...(ts.getTrailingCommentRanges(source.text, node.getEnd()) || [])]) seen.set(range.pos, range);
    node.getChildren(source).forEach(walk);
  };
  walk(source);
  return [...seen.values()].sort((a, b) => a.pos - b.pos).map((range) => ({
    text: source.text.slice(range.pos, range.end).replace(/^\/\*+|^\/\/+|\*+\/$/g, '').trim(),
    line: line(source, range.end),
  }));
}

const line = (source, position) => source.getLineAndCharacterOfPosition(position).line + 1;

// The function of this file that a call is of: f(), this.f().
function usedBy(callee) {
  if (ts.isIdentifier(callee)) return callee.text;
  const own = ts.isPropertyAccessExpression(callee) && callee.expression.kind === ts.SyntaxKind.ThisKeyword;
  return own ? callee.name.text : '';
}

function readOperations(file) {
  const source = parse(file);
  if ((source.parseDiagnostics || []).length) return { error: 'it cannot be parsed' };
  const names = constants(source);
  const calls = [];
  const uses = [];
  const walk = (node) => {
    const call = callOf(node, names);
    if (call) {
      const statement = statementOf(node);
      calls.push({ method: call.method, arguments: call.arguments, owner: ownerOf(node), conditional: conditional(node),
        line: line(source, node.getStart(source)), text_line: line(source, call.place.getStart(source)),
        statement_line: line(source, statement.getStart(source)) });
    }
    const used = ts.isCallExpression(node) ? usedBy(bare(node.expression)) : '';
    if (used) uses.push([ownerOf(node), used]);
    ts.forEachChild(node, walk);
  };
  walk(source);
  return { calls, uses, comments: comments(source) };
}

function guarded(file) {
  try {
    return readOperations(file);
  } catch {
    return { error: 'the parser could not read it' };
  }
}

if (ts) say(files.map(guarded));
else say({ error: "the project's node_modules have no typescript to parse it with" });
"""
)
