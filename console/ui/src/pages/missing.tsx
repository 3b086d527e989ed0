import { Link } from '@tanstack/react-router';

export function Missing() {
  return (
    <main className="gate">
      <div className="gate-card panel">
        <div className="empty">
          <h1>There is no such page</h1>
          <p>The address may be mistyped, or from another version of the console.</p>
          <Link to="/">Go to the overview</Link>
        </div>
      </div>
    </main>
  );
}
