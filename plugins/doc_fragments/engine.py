# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  engine:
    description: The migration tool.
    type: str
    choices: [npm]
    default: npm
  engine_options:
    description: Where the project is, and where its tool keeps its state.
    type: dict
    required: true
    suboptions:
      project_dir:
        description: The folder with the project's C(package.json), with its packages installed.
        type: path
        required: true
      migrations_dir:
        description: The folder with the migrations, relative to O(engine_options.project_dir).
        type: str
        default: migrations
      pattern:
        description: Which files of that folder are migrations.
        type: str
        default: "*"
      extension:
        description: What file names have and the names in the state table have not, V(.ts) for example.
        type: str
        default: ""
      manifest:
        description:
          - A JSON file, relative to O(engine_options.project_dir), with a list of C({name, sha256}), one entry for each
            migration. Without it, files that were changed after they were applied are not noticed.
        type: str
      schema:
        description: The schema of the state table.
        type: str
        default: public
      table:
        description: The state table. Capitals count.
        type: str
        default: migrations_meta
      name_column:
        description: Its column with the names of the migrations.
        type: str
        default: name
      order:
        description: What tells the last migration, its V(name) (the greatest is the last) or a V(column).
        type: str
        choices: [name, column]
        default: name
      order_column:
        description: The column for O(engine_options.order=column), V(executed_at) for example.
        type: str
      scripts:
        description: The names of the project's npm scripts.
        type: dict
        suboptions:
          down:
            description: Reverts the last migration.
            type: str
            default: "migrate:down"
          up:
            description: Applies everything that is pending.
            type: str
            default: migrate
          up_one:
            description: Applies the next one only, where the project has such a script.
            type: str
          status:
            description: Tells the state and changes nothing.
            type: str
            default: "migrate:status"
      node_path:
        description: The folder with C(node) and C(npm), where they are in none of the usual places.
        type: path
      url_variable:
        description: The environment variable in which the project takes the database's URL.
        type: str
        default: DATABASE_URL
  environment:
    description:
      - The environment that the project's commands need. They get nothing else but C(PATH), an empty C(HOME), C(LANG),
        the URL of the intended database, C(PGAPPNAME) and C(PGOPTIONS).
    type: dict
    default: {}
"""
