import 'uplot/dist/uPlot.min.css';
import './styles/base.css';
import './styles/parts.css';
import './styles/views.css';
import { render } from 'preact';
import { App } from './app';
import { followLinks } from './router';
import { applyTheme } from './theme';

applyTheme();
document.addEventListener('click', followLinks);
const root = document.getElementById('app');
if (root) render(<App />, root);
