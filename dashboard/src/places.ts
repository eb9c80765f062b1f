// Where the navigation leads.

/** Each with its icon: the lines of a drawing of 20 by 20. */
export const places = [
  { path: '/', name: 'Models', icon: 'M10 2.5 16.5 6v8L10 17.5 3.5 14V6zM3.5 6l6.5 3.5L16.5 6M10 9.5v8' },
  { path: '/usage', name: 'Usage', icon: 'M4 16.5v-6M10 16.5v-13M16 16.5V7' },
  { path: '/secrets', name: 'Secrets', icon: 'M4.5 9h11v7.5h-11zM7 9V6.5a3 3 0 0 1 6 0V9' },
  {
    path: '/keys',
    name: 'API keys',
    icon: 'M9.5 13a3.2 3.2 0 1 1-6.4 0 3.2 3.2 0 0 1 6.4 0zM8.6 10.8 16 3.5M13 6.5l2.5 2.5',
  },
  {
    path: '/access',
    name: 'Access',
    icon: 'M13 6.5a3 3 0 1 1-6 0 3 3 0 0 1 6 0zM3.5 16.5c.7-3 3.3-4.5 6.5-4.5s5.8 1.5 6.5 4.5',
  },
  {
    path: '/policies',
    name: 'Policies',
    icon: 'M10 17.5c-3.5-3.6-5.5-6.5-5.5-9a5.5 5.5 0 0 1 11 0c0 2.5-2 5.4-5.5 9zM7.7 8.6l1.7 1.7 3-3.2',
  },
  { path: '/audit', name: 'Audit log', icon: 'M3.5 5h13M3.5 10h13M3.5 15H11' },
] as const;
