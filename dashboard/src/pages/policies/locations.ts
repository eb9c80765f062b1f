// What is known of the locations.
import type { Schemas } from '$lib/api/client';
import { formatBytes } from '$lib/format';

const MIB = 1024 * 1024;

/** Where a location is, as far as anybody has said, and what is in it. */
export function describe({ country, continent, flavors }: Schemas['LocationInfo']): string {
  const hardware = flavors.map(({ type, name, count, memory_mib }) => {
    const memory = memory_mib == null ? '' : ` with ${formatBytes(memory_mib * MIB)}`;
    return `${count} × ${type} ${name}${memory}`;
  });
  const place = [country, continent].filter((code) => code != null).join(', ');
  return [place, hardware.join(', ')].filter(Boolean).join(': ');
}

type Place = Schemas['PlacementCandidate'];

/** The names that there are of a kind of entry, as far as they are known; codes of countries are not. */
export function knownNames(places: Place[], kind: string): string[] {
  const names =
    kind === 'location'
      ? places.map((place) => place.location)
      : places.filter(({ flavor }) => flavor.type === kind).map(({ flavor }) => flavor.name);
  return [...new Set(names)];
}

/** All hardware that there is anywhere, each once. */
export function hardwareOf(places: Place[]): Schemas['PlacementFlavor'][] {
  return [...new Map(places.map(({ flavor }) => [`${flavor.type} ${flavor.name}`, flavor])).values()];
}
