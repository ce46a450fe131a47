'use strict';

window.ui = window.SwaggerUIBundle({
  dom_id: '#api',
  url: new URL('openapi.json', window.location.href).href,
  deepLinking: true,
  // Nobody outside is asked whether the document is valid.
  validatorUrl: null,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  layout: 'BaseLayout',
  presets: [window.SwaggerUIBundle.presets.apis],
});
