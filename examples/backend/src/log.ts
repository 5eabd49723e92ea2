export function log(level: 'info' | 'warn' | 'error', line: string): void {
  const text = `[${new Date().toISOString()}] ${level}: ${line}`;
  if (level === 'info') console.log(text);
  else console.error(text);
}
