import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core';

const harbour: MantineColorsTuple = ['#eaf4fb', '#d5e6f3', '#a8cce7', '#79b1db', '#529acf', '#3a8cc8', '#2c7fbd', '#1f6ea6', '#1b5e8c', '#134a70'];

export const theme = createTheme({
  primaryColor: 'harbour',
  primaryShade: { light: 8, dark: 7 },
  colors: { harbour },
  fontFamily: "'Inter', system-ui, sans-serif",
  fontFamilyMonospace: "'JetBrains Mono', ui-monospace, monospace",
  defaultRadius: 6,
  cursorType: 'pointer',
  respectReducedMotion: true,
});

// Mantine's own surfaces take our colours.
export const variables: CSSVariablesResolver = () => {
  const ours = {
    '--mantine-color-body': 'var(--panel)',
    '--mantine-color-text': 'var(--ink)',
    '--mantine-color-dimmed': 'var(--ink-3)',
    '--mantine-color-default-border': 'var(--line)',
    '--mantine-color-error': 'var(--refuse)',
    '--mantine-color-placeholder': 'var(--ink-3)',
  };
  return { variables: {}, light: ours, dark: ours };
};
