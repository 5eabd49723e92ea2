import { DataTypes } from 'sequelize';
import type { Model, ModelAttributes, ModelStatic, Sequelize } from 'sequelize';
import { release } from './release.ts';

export interface Models {
  users: ModelStatic<Model>;
  projects: ModelStatic<Model>;
}

export const titleLength = release.longTitles ? 200 : 50;

/** The models name the columns of this release only. */
export function defineModels(sequelize: Sequelize): Models {
  const options = { timestamps: false };
  const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
  const projectColumns: ModelAttributes = {
    id,
    owner_id: { type: DataTypes.INTEGER, allowNull: false },
    title: { type: DataTypes.STRING(titleLength), allowNull: false },
    client_reference: DataTypes.STRING(64),
    budget: DataTypes.DECIMAL(12, 2),
    created_at: { type: DataTypes.DATE, allowNull: false },
  };
  if (release.longTitles) projectColumns.subtitle = DataTypes.STRING(80);
  if (release.priority) projectColumns.priority = { type: DataTypes.INTEGER, allowNull: false, defaultValue: 3 };
  return {
    users: sequelize.define('user', {
      id,
      email: { type: DataTypes.STRING(255), allowNull: false },
      name: DataTypes.STRING(100),
      phone: DataTypes.STRING(50),
      company: DataTypes.STRING(100),
      created_at: { type: DataTypes.DATE, allowNull: false },
    }, { ...options, tableName: 'users' }),
    projects: sequelize.define('project', projectColumns, { ...options, tableName: 'projects' }),
  };
}
