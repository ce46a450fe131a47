import js from '@eslint/js';

export default [
  // Built by client/build.js.
  { ignores: ['**/client/mayfly.*'] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2023, sourceType: 'module' },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      // TypeScript checks names, with the types of the browser.
      'no-undef': 'off',
      'no-unused-vars': ['error', { varsIgnorePattern: '^_' }],
      'no-unused-private-class-members': 'off', // It does not see reads by `??=`.
      'no-var': 'error',
      'prefer-const': 'error',
      'object-shorthand': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
    },
  },
  { files: ['**/openapi/page/*.js'], languageOptions: { sourceType: 'script' } },
];
