'use strict';

const { SwaggerUIBundle } = /** @type {any} */ (window);

SwaggerUIBundle({
  dom_id: '#api',
  url: new URL('openapi.json', window.location.href).href,
  deepLinking: true,
  // Disables the online validator of Swagger UI, which would receive the document.
  validatorUrl: null,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  layout: 'BaseLayout',
  presets: [SwaggerUIBundle.presets.apis],
});
