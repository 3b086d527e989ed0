import { defineConfig } from 'vite';
import react from '@vitejs/plugin-react';

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0, // the content security policy allows no data: URLs
    modulePreload: { polyfill: false }, // it would be an inline script
    chunkSizeWarningLimit: 900,
  },
  server: {
    proxy: { '/api': { target: 'https://127.0.0.1:9443', secure: false } },
  },
});
