use stillpoint::api::hotplug::InstallError;
use stillpoint::api::pool::Pool;
use stillpoint::println;

stillpoint::entry!(main);

fn main() -> Result<(), InstallError> {
    let pool = Pool::new()?;
    let answer = pool.spawn(|| 6 * 7);
    let mut squares = [0; 100];
    pool.scope(|scope| {
        for (number, square) in squares.iter_mut().enumerate() {
            scope.spawn(move || *square = number * number);
        }
    });
    println!("{}, {}", answer.join(), squares.iter().sum::<usize>());
    Ok(())
}
