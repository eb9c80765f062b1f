// Runs one story: node e2e/run.mjs STORY.
const { default: story } = await import(`./stories/${process.argv[2]}.mjs`);
await story();
