import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { startTheme } from './parts/theme';
import './style/tokens.css';
import './style/base.css';
import './style/rooms.css';
import './style/administration.css';
import { startWords } from './words';

startTheme();
void startWords().then(() => {
  const root = document.getElementById('root');
  if (root) {
    createRoot(root).render(
      <StrictMode>
        <App />
      </StrictMode>,
    );
  }
});
