import js from '@eslint/js';

export default [
  // Built by client/build.js.
  { ignores: ['**/client/mayfly.*'] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2023, sourceType: 'module' },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      // TypeScript detects undefined names.
      'no-undef': 'off',
      'no-unused-vars': ['error', { varsIgnorePattern: '^_' }],
      'no-unused-private-class-members': 'off', // The rule does not recognize reads by `??=`.
      'no-var': 'error',
      'prefer-const': 'error',
      'object-shorthand': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
    },
  },
  { files: ['**/openapi/page/*.js'], languageOptions: { sourceType: 'script' } },
];
